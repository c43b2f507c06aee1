#if NATS
    import CNATS
    import Testing

    @Suite struct ClientTests {
        @Test func aa() { #expect(String(cString: nats_GetVersion()) != "") }
    }
#endif
