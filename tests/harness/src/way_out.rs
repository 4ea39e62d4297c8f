//! A network namespace in which every address is behind one neighbour, for programs that are run on
//! made-up packets and ask the kernel for the way.

use std::net::IpAddr;

use seaway_dataplane::links::{Device, Links};
use seaway_lab::{End, Error, Namespace, Route, Veth};

/// The namespace and what its only link leads to.
#[derive(Debug)]
pub struct WayOut {
    /// Where programs are to be run: everything leaves by its link.
    pub namespace: Namespace,
    _beyond: Namespace,
}

impl WayOut {
    /// Hardware address of the link.
    pub const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    /// Hardware address of the neighbour.
    pub const NEXT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

    const LINK: &str = "out";
    const OWN: [&str; 2] = ["198.18.0.1/30", "2001:db8:ff::1/64"];
    const NEXT: [&str; 2] = ["198.18.0.2", "2001:db8:ff::2"];

    /// Makes it.
    ///
    /// # Errors
    /// As [`Namespace::new`] and [`Veth::connect`].
    ///
    /// # Panics
    /// Never: the addresses are right.
    pub fn new() -> Result<Self, Error> {
        let namespace = Namespace::new("way-out")?;
        let beyond = Namespace::new("beyond")?;
        namespace.set_forwarding()?;
        let own = Self::OWN.map(|text| text.parse().expect("an address"));
        let near = End::new(&namespace, Self::LINK).mac(Self::OWN_MAC).address(own[0]).address(own[1]);
        Veth::new(near, End::new(&beyond, "in").mac(Self::NEXT_MAC)).connect()?;
        for text in Self::NEXT {
            let next: IpAddr = text.parse().expect("an address");
            namespace.add_neighbour(Self::LINK, next, Self::NEXT_MAC)?;
            namespace.add_route(&Route::default_via(next))?;
        }
        Ok(Self { namespace, _beyond: beyond })
    }

    /// Its interfaces, said to transmit for XDP or not.
    ///
    /// # Errors
    /// As [`Namespace::run`].
    ///
    /// # Panics
    /// When the kernel does not tell the link's index.
    pub fn links(&self, transmit: bool) -> Result<Links, Error> {
        let index = self.namespace.run(|| nix::net::if_::if_nametoindex(Self::LINK))?;
        let index = index.expect("the link that was made");
        let flags = if transmit { seaway_common::DEVICE_XDP_TRANSMIT } else { 0 };
        let value = seaway_common::DeviceValue { flags, ..Default::default() };
        let device = Device { name: Self::LINK.to_owned(), value, ..Device::default() };
        Ok(Links { devices: [(index, device)].into(), ..Links::default() })
    }
}
