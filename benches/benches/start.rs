//! From the start of an agent to its traffic: how long until the first facts are in force, and where the
//! time goes. Needs root.
//!
//! Each round starts a whole agent in a namespace of its own, on maps that it has to make. Programs are
//! loaded while facts are read, so the parts add up to more than the whole. With `SEAWAY_BASELINE=PATH`
//! another build of the program is started in turn with this one, and its rows stand beside.

use std::env;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use seaway_harness::{AgentSetup, ApiBehaviour, ApiServer, seaway_binary};
use seaway_lab::Namespace;
use seaway_tests::api_objects::{cluster_ip, name, service, slice};

const ROUNDS: usize = 7;
const ENDPOINTS: u32 = 10;
/// Nobody keeps a cluster in one file.
const SERVICES_A_FILE: u32 = 100;
/// What the agent says of its own parts, in lines of its log. The parts `maps` and `verifier` are side by
/// side with `read`.
const PARTS: [(&str, &str); 6] = [
    ("maps", "maps="),
    ("verifier", "verifier="),
    ("read", "read="),
    ("plan", "plan="),
    ("write", "write="),
    ("attach", "attach="),
];

/// Where the facts come from.
#[derive(Clone, Copy)]
enum From {
    Folder,
    Server,
}

struct Row {
    program: PathBuf,
    build: &'static str,
    services: u32,
    from: From,
    whole: Vec<Duration>,
    parts: [Vec<Duration>; PARTS.len()],
}

fn main() -> Result<()> {
    if !seaway_harness::require_root("start") {
        return Ok(());
    }
    let mut rows = Vec::new();
    for (services, from) in [(10, From::Folder), (10_000, From::Folder), (10_000, From::Server)] {
        let mut row = |build, program: PathBuf| {
            let (whole, parts) = (Vec::new(), Default::default());
            rows.push(Row { program, build, services, from, whole, parts });
        };
        if let Some(baseline) = env::var_os("SEAWAY_BASELINE") {
            row("baseline", baseline.into());
        }
        row("this", seaway_binary().to_owned());
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            measure(row)?;
        }
    }
    println!("{}", table(&mut rows));
    Ok(())
}

fn measure(row: &mut Row) -> Result<()> {
    let namespace = Namespace::new("start")?;
    let mut setup = AgentSetup::new(["lo"]).arguments(["--node-name", "node-1", "-v", "4"]);
    let mut server = None;
    match row.from {
        From::Folder => write_manifests(&setup, row.services),
        From::Server => {
            let listener = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:0"))??;
            let api = ApiServer::serve(listener, ApiBehaviour::default());
            api.put_all((0..row.services).map(service));
            api.put_all((0..row.services).map(|number| slice(number, ENDPOINTS)));
            setup.follow(&api);
            server = Some(api);
        }
    }
    let begun = Instant::now();
    let mut agent = setup.start_program(&namespace, &row.program);
    agent.wait("readiness", |status| status.ready);
    row.whole.push(begun.elapsed());
    let log = agent.log();
    for ((_, label), values) in PARTS.iter().zip(&mut row.parts) {
        values.extend(part(&log, label));
    }
    drop(agent);
    drop(server);
    Ok(())
}

/// The first duration that the log has behind a label.
fn part(log: &str, label: &str) -> Option<Duration> {
    let text = log.split_whitespace().find_map(|word| word.strip_prefix(label))?;
    let digits = text.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        _ => 1e-9,
    };
    Some(Duration::from_secs_f64(number * unit))
}

/// Manifests as people write them, in blocks.
fn write_manifests(setup: &AgentSetup, services: u32) {
    let mut text = String::new();
    for number in 0..services {
        let (name, address) = (name(number), cluster_ip(number));
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: n\nspec:\n  clusterIP: {address}\n  \
             clusterIPs:\n  - {address}\n  ipFamilies:\n  - IPv4\n  ports:\n  - name: http\n    port: 80\n    protocol: TCP\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}\n  namespace: n\n  labels:\n    \
             kubernetes.io/service-name: {name}\naddressType: IPv4\nports:\n- name: http\n  port: 8080\n  protocol: TCP\nendpoints:\n"
        )
        .expect("memory takes any text");
        for index in 0..ENDPOINTS {
            let (high, low) = (128 + number / 250, number % 250);
            write!(
                text,
                "- addresses:\n  - 10.{high}.{low}.{}\n  conditions:\n    ready: true\n  nodeName: node-{}\n",
                1 + index,
                (number + index) % 100
            )
            .expect("memory takes any text");
        }
        if (number + 1) % SERVICES_A_FILE == 0 || number + 1 == services {
            setup.write(&format!("{number}.yaml"), &std::mem::take(&mut text));
        }
    }
}

fn table(rows: &mut [Row]) -> Table {
    let mut table = Table::new();
    let columns = ["BUILD", "SERVICES", "FROM", "IN FORCE", "MIN", "MAX"];
    let parts = PARTS.map(|(name, _)| name.to_uppercase());
    table.load_style(presets::NOTHING).set_header(columns.map(str::to_owned).into_iter().chain(parts));
    for row in rows {
        row.whole.sort_unstable();
        let mut cells = vec![
            row.build.to_owned(),
            row.services.to_string(),
            match row.from {
                From::Folder => "YAML".to_owned(),
                From::Server => "API".to_owned(),
            },
        ];
        let shown = |value: Option<&Duration>| value.map_or("–".to_owned(), |value| format!("{value:.3?}"));
        cells.extend([row.whole.len() / 2, 0, row.whole.len() - 1].map(|at| shown(row.whole.get(at))));
        for values in &mut row.parts {
            values.sort_unstable();
            cells.push(shown(values.get(values.len() / 2)));
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
