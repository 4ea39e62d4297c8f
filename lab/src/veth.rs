//! A virtual cable between two namespaces.

use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth},
};

use crate::{Error, Namespace, netlink};

/// What a veth pair does with checksums and segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offload {
    /// Like a wire: checksums are complete and segments are cut before a packet leaves an end, so
    /// an XDP program at the other end sees what a network card would hand it.
    #[default]
    Wire,
    /// The kernel's default: both are left undone between namespaces (`CHECKSUM_PARTIAL`), which
    /// is what an XDP or tcx program on a pod's veth has to cope with on a real node.
    Deferred,
    /// As [`Deferred`](Self::Deferred), and received segments are put together again (GRO).
    Full,
}

impl Namespace {
    /// Switches a link's offloads.
    ///
    /// # Errors
    /// As [`set_features`](Self::set_features).
    pub fn set_offload(&self, link: &str, offload: Offload) -> Result<(), Error> {
        match offload {
            // Segmentation depends on it and goes with it.
            Offload::Wire => self.set_features(link, &[("tx-checksum-ip-generic", false), ("rx-gro", false)]),
            Offload::Deferred => Ok(()),
            Offload::Full => {
                let on = ["tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"];
                let on = on.into_iter().chain(["tx-generic-segmentation", "rx-gro"]);
                self.set_features(link, &on.map(|name| (name, true)).collect::<Vec<_>>())
            }
        }
    }
}

/// One end of a veth pair.
#[derive(Debug, Clone)]
pub struct End<'n> {
    namespace: &'n Namespace,
    name: String,
    mac: Option<[u8; 6]>,
    addresses: Vec<IpNet>,
}

/// A veth pair, to be made by [`Veth::connect`].
#[derive(Debug, Clone)]
pub struct Veth<'n> {
    ends: [End<'n>; 2],
    mtu: u32,
    offload: Offload,
}

impl<'n> End<'n> {
    /// An end in `namespace`. `name` has at most 15 bytes.
    #[must_use]
    pub fn new(namespace: &'n Namespace, name: impl Into<String>) -> Self {
        Self { namespace, name: name.into(), mac: None, addresses: Vec::new() }
    }

    /// Gives it a hardware address instead of a random one.
    #[must_use]
    pub fn mac(self, mac: [u8; 6]) -> Self {
        Self { mac: Some(mac), ..self }
    }

    /// Gives it an address, and with it the route to the address's network.
    #[must_use]
    pub fn address(mut self, address: IpNet) -> Self {
        self.addresses.push(address);
        self
    }

    /// Gives it these addresses too.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = IpNet>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    fn described<T>(&self, link: LinkMessageBuilder<T>, mtu: u32) -> LinkMessageBuilder<T> {
        let link = link.mtu(mtu);
        if let Some(mac) = self.mac { link.address(mac.to_vec()) } else { link }
    }
}

impl<'n> Veth<'n> {
    /// A cable between two ends, MTU 1500, [`Offload::Wire`].
    #[must_use]
    pub fn new(a: End<'n>, b: End<'n>) -> Self {
        Self { ends: [a, b], mtu: 1500, offload: Offload::default() }
    }

    /// Sets the MTU of both ends, in bytes.
    #[must_use]
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu, ..self }
    }

    /// Says what happens to checksums.
    #[must_use]
    pub fn offload(self, offload: Offload) -> Self {
        Self { offload, ..self }
    }

    /// Makes the pair, gives the ends their addresses and takes them up.
    ///
    /// # Errors
    /// When a name is taken or too long, or the kernel has no veth.
    pub fn connect(&self) -> Result<(), Error> {
        let [a, b] = &self.ends;
        let action =
            format!("make the link {}/{} - {}/{}", a.namespace.name(), a.name, b.namespace.name(), b.name);
        let far_side = b.namespace.as_fd().as_raw_fd();
        let far = LinkMessageBuilder::<LinkUnspec>::new().name(&b.name).setns_by_fd(far_side);
        let far = InfoData::Veth(InfoVeth::Peer(b.described(far, self.mtu).build()));
        let near = a.described(LinkVeth::new(&a.name, &b.name), self.mtu).set_info_data(far).build();
        netlink::with(a.namespace, &action, async |handle| handle.link().add(near).execute().await)?;

        for end in &self.ends {
            end.namespace.set_offload(&end.name, self.offload)?;
            end.namespace.set_up(&end.name)?;
        }
        for end in &self.ends {
            for address in &end.addresses {
                end.namespace.add_address(&end.name, *address)?;
            }
        }
        Ok(())
    }
}
