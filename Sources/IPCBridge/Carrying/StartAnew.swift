#if NATS
    /// Why a carrier begins anew: what it relied on has changed.
    struct StartAnew: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }
#endif
