#if NATS
    import Testing

    @testable import IPCBridge
#endif
