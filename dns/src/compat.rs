//! CoreDNS's own answers where ours differ, for clients that depend on them.
//!
//! Every name of a switch is a row in the table of docs/dns.md.

/// Switches of a `kubernetes` plugin: which of its answers are CoreDNS's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// TXT denies names that have no records of their own.
    pub txt: bool,
    /// All types but TXT deny `dns-version`.
    pub version: bool,
    /// All types but PTR deny the name of an address, and all types the names above it.
    pub reverse: bool,
    /// `_tcp` below a Service does not exist.
    pub protocol: bool,
    /// An ExternalName Service is an alias for A, AAAA and CNAME only.
    pub alias: bool,
    /// An alias goes where its target in the cluster has no data; nothing tells why a target
    /// elsewhere has none, nor that it could not be found out.
    pub chase: bool,
    /// Labels in front of a pod's name are passed over (`pods insecure`).
    pub pods: bool,
}

/// Switches of a server block: which parts of its messages are CoreDNS's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPT tells the client's own size, unknown flags, cookie and padding again.
    pub edns: bool,
    /// Additional records that do not fit set TC.
    pub truncation: bool,
}

/// A name that is no switch, and those there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no switch of compat here (there are {known} and all)")]
pub struct Unknown {
    name: String,
    known: String,
}

impl Names {
    /// The switches of these names; `all` is every one.
    ///
    /// # Errors
    /// If a name is none.
    pub fn parse(names: &[String]) -> Result<Self, Unknown> {
        let mut on = Self::default();
        let Self { txt, version, reverse, protocol, alias, chase, pods } = &mut on;
        let switches = [
            ("alias", alias),
            ("chase", chase),
            ("pods", pods),
            ("protocol", protocol),
            ("reverse", reverse),
            ("txt", txt),
            ("version", version),
        ];
        set(names, switches)?;
        Ok(on)
    }
}

impl Messages {
    /// The switches of these names; `all` is every one.
    ///
    /// # Errors
    /// If a name is none.
    pub fn parse(names: &[String]) -> Result<Self, Unknown> {
        let mut on = Self::default();
        let Self { edns, truncation } = &mut on;
        set(names, [("edns", edns), ("truncation", truncation)])?;
        Ok(on)
    }
}

fn set<const N: usize>(names: &[String], mut switches: [(&str, &mut bool); N]) -> Result<(), Unknown> {
    for name in names {
        let mut known = false;
        for (switch, on) in &mut switches {
            let meant = name == switch || name == "all";
            known |= meant;
            **on |= meant;
        }
        if !known {
            let known = switches.iter().map(|(switch, _)| *switch).collect::<Vec<_>>().join(", ");
            return Err(Unknown { name: name.clone(), known });
        }
    }
    Ok(())
}
