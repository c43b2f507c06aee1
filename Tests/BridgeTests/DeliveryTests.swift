#if NATS
    import Testing

    @testable import IPCBridge

    /// What JetStream says of a message in its reply subject.
    @Suite struct DeliveryTests {
        private func read(_ reply: String) -> Delivery? {
            var reply = reply
            return reply.withUTF8 { Delivery(UnsafeRawBufferPointer($0)) }
        }

        private func source(_ reply: String) -> String? {
            var reply = reply
            return reply.withUTF8 { Delivery.source(in: UnsafeRawBufferPointer($0)) }
        }

        @Test(.timeLimit(.minutes(10)), arguments: ["", "hub.ACCOUNT."])
        func allFormsAreRead(domain: String) throws {
            let more = domain.isEmpty ? "" : ".random"
            let reply = "$JS.ACK.\(domain)ipc-t-a=b.r1-x.2.41.40.1764547200000000001.7\(more)"
            let delivery = try #require(read(reply))
            #expect(delivery.stream == "ipc-t-a=b" && delivery.consumer == "r1-x" && delivery.deliveries == 2)
            #expect(delivery.streamSequence == 41 && delivery.consumerSequence == 40 && delivery.pending == 7)
            #expect(delivery.time == 1_764_547_200_000_000_001)
            #expect(source(reply) == "ipc-t-a=b.r1-x")
        }

        @Test(
            .timeLimit(.minutes(10)),
            arguments: [
                "", "$JS.ACK.", "_INBOX.a.b", "$JS.ACK.s.c.1.2.3.4", "$JS.ACK.s.c.1.2.3.4.5.6", "$JS.ACK.s.c.1.x.3.4.5",
                "$JS.ACK.s.c.1..3.4.5", "$JS.ACK.s.c.1.18446744073709551616.3.4.5", "$JS.ACK.s.c.1.2.3.4.-5",
                "$JS.ACK.s.c.1.2.3.9223372036854775808.5",
            ])
        func whatIsNoneIsRefused(reply: String) { #expect(read(reply) == nil) }
    }
#endif
