//! Why a packet or a connect did not go the ordinary way.

/// What becomes of a packet or a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It goes to the kernel untouched, which knows what to do with what is not ours.
    Pass,
    /// It ends here, and nobody is told.
    Drop,
    /// It is answered: a reset or "port unreachable" for a packet, `ECONNREFUSED` for a connect.
    Refuse,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal, $action:ident;)*) => {
        /// Why a packet or a connect did not go the ordinary way; index into the counters.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name = $value,)* }

        impl Reason {
            /// Every reason, in order of its number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The label of metrics and tables.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The reason of a number.
            #[inline(always)]
            pub const fn of(number: u32) -> Option<Self> {
                match number { $($value => Some(Self::$name),)* _ => None }
            }

            /// What becomes of the packet or connect.
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)* }
            }
        }
    };
}

reasons! {
    /// The packet ends inside a header.
    Truncated = 0, "truncated", Pass;
    /// A length or version field contradicts the packet.
    BadHeader = 1, "bad-header", Pass;
    /// A later fragment of a datagram whose first one was not seen.
    Fragment = 2, "fragment", Pass;
    /// The service has no endpoint at all.
    NoEndpoint = 3, "no-endpoint", Refuse;
    /// The service has endpoints, but none on this node, and this traffic may not leave it.
    NoLocalEndpoint = 4, "no-local-endpoint", Drop;
    /// TCP to a virtual address that neither belongs to a flow nor starts one.
    NoFlow = 5, "no-flow", Refuse;
    /// No source port was free for a flow to this endpoint.
    PortsExhausted = 6, "ports-exhausted", Refuse;
    /// The flow table took no new entry.
    FlowsFull = 7, "flows-full", Drop;
    /// The socket table took no new entry; the connect goes on, its peer name will be the endpoint's.
    SocketsFull = 8, "sockets-full", Pass;
    /// A slot or backend entry is missing although a service points to it.
    Inconsistent = 9, "inconsistent", Drop;
    /// The client is in none of the service's source ranges.
    SourceRange = 10, "source-range", Drop;
    /// A cluster IP's port or protocol that its service does not have.
    UndefinedPort = 11, "undefined-port", Refuse;
    /// An address of the service range that no service has.
    Unallocated = 12, "unallocated", Drop;
    /// The packet does not fit the way out; the sender is told the size that does.
    TooBig = 13, "too-big", Drop;
    /// The node has no route, or no address, for the translated packet.
    NoRoute = 14, "no-route", Drop;
    /// A service's client has an address that nothing can be sent to, or is the service itself.
    BadSource = 15, "bad-source", Drop;
    /// A protocol or header chain that cannot be followed to the ports.
    Unfollowed = 16, "unfollowed", Pass;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_indexes() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
