#if NATS
    /// Which way a carrier carries.
    enum CarrierDirection: Hashable, Sendable {
        /// From this machine's channel to the server.
        case out
        /// From the server to this machine's channel. For a topic and a work queue: what one other machine wrote; otherwise nil, for all.
        case `in`(from: Machine?)
    }
#endif
