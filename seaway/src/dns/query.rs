//! `seaway dns query`: an answer, and how it came about.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use seaway_dns::explain::{Answer, Origin};
use seaway_dns::name;
use seaway_dns::server::Service;
use seaway_dns::wire::kind;
use serde_json::json;
use tokio::time::timeout;

use super::reload::Configuration;
use crate::facts;
use crate::table::Output;

/// So long an API server is waited for.
const FACTS_WITHIN: Duration = Duration::from_secs(30);

/// `seaway dns query`
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct Args {
    /// The name, or an address to find the names of.
    name: String,
    /// The type of records, such as A, AAAA, SRV or TXT.
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// What is served, in the language of CoreDNS.
    #[arg(long, value_name = "FILE", env = "SEAWAY_COREFILE")]
    corefile: PathBuf,
    #[command(flatten)]
    facts: facts::Args,
    /// Who asks.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Answers once, without listening anywhere.
pub(super) async fn run(args: &Args) -> Result<()> {
    let (asked, of_kind) = question(args)?;
    let mut configuration = Configuration::read(args.corefile.clone())?;
    let wants = configuration.wants();
    let service = Service::new(configuration.engine());
    if configuration.follows(args.facts.named()) {
        let facts = timeout(FACTS_WITHIN, args.facts.follow(&wants)).await;
        let facts =
            facts.context("the API server gave no facts; is it there, and may its Services be listed?")??;
        let facts = facts.borrow().clone();
        configuration.feed(&service, &facts);
    }
    let port = configuration.blocks().first().map_or(53, |block| block.port);
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&asked);
    message.extend_from_slice(&of_kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let answered = service.answer(&message, port, SocketAddr::new(args.client, 0)).await;
    let Some((answer, reply)) = answered else { bail!("the query gets no answer: acl drops it") };
    let origin = service.engine().origin(&message, &reply).unwrap_or_default();
    let answer = Answer::read(&answer).context("the answer cannot be read")?;
    let asked = format!("{} {}", name::text(&asked), kind::text(of_kind));
    match args.output {
        Output::Json => {
            let records: Vec<_> = answer
                .records
                .iter()
                .map(|(section, text)| json!({"section": section, "record": text}))
                .collect();
            let document = json!({
                "question": asked, "status": answer.status, "records": records, "block": origin.block,
                "plugin": origin.plugin, "meaning": origin.meaning, "objects": origin.objects,
            });
            println!("{}", serde_json::to_string_pretty(&document)?);
        }
        Output::Text => print(&asked, &answer, &origin),
    }
    Ok(())
}

fn print(asked: &str, answer: &Answer, origin: &Origin) {
    println!("question   {asked}");
    println!("status     {}", answer.status);
    for (section, record) in &answer.records {
        println!("{section:<10} {record}");
    }
    for (what, text) in [("block", &origin.block), ("plugin", &origin.plugin), ("meaning", &origin.meaning)] {
        if !text.is_empty() {
            println!("{what:<10} {text}");
        }
    }
    for object in &origin.objects {
        println!("object     {object}");
    }
}

/// The name and the type that are asked for; an address stands for the name that leads back from it.
fn question(args: &Args) -> Result<(Box<[u8]>, u16)> {
    let of_kind = args.kind.as_ref().map(|text| {
        kind::parse(text).with_context(|| format!("{text:?} is not a type of records, as A or SRV is"))
    });
    let of_kind = of_kind.transpose()?;
    match args.name.parse::<IpAddr>() {
        Ok(address) => Ok((name::reverse(address), of_kind.unwrap_or(kind::PTR))),
        Err(_) => Ok((name::parse(&args.name)?, of_kind.unwrap_or(kind::A))),
    }
}
