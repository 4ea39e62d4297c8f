//! Why a packet or a connect did not go the ordinary way.

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

            /// Whether the packet is dropped; the others go to the kernel untouched, which knows
            /// what to do with what is not ours.
            pub const fn drops(self) -> bool {
                match self { $(Self::$name => reasons!(@drops $action),)* }
            }
        }
    };
    (@drops drop) => { true };
    (@drops pass) => { false };
}

reasons! {
    /// The packet ends inside a header.
    Truncated = 0, "truncated", pass;
    /// A length or version field contradicts the packet.
    BadHeader = 1, "bad-header", pass;
    /// A fragment: its ports cannot be read.
    Fragment = 2, "fragment", pass;
    /// The service has no endpoint for this traffic.
    NoEndpoint = 3, "no-endpoint", drop;
    /// TCP to a service that neither belongs to a flow nor starts one.
    NoFlow = 4, "no-flow", drop;
    /// Every backend that was tried already talks to this client port for another service.
    Collision = 5, "collision", drop;
    /// The flow table took no new entry.
    FlowsFull = 6, "flows-full", drop;
    /// The socket table took no new entry; the connect goes on, its peer name will be the endpoint's.
    SocketsFull = 7, "sockets-full", pass;
    /// A slot or backend entry is missing although a service points to it.
    Inconsistent = 8, "inconsistent", drop;
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
