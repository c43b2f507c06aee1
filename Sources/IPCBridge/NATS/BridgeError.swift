#if NATS
    enum BridgeError: Error { case closed }
#endif
