#if NATS
    import IPC
    import IPCChannels
    import TestSupport
    import Testing

    @testable import IPCBridge

    /// Whoever may publish on the server can send any bytes, on every subject that bridges listen to.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct HostileTests {
        private static let rules = """
            {"name": "all/fast", "pattern": "topic", "delivery": "best-effort"}, {"name": "all/**"}
            """

        /// What is none of a bridge, or says what no bridge would.
        private static func bodies(from machine: Machine) -> [[UInt8]] {
            var bodies: [[UInt8]] = [[], [0], Array("IPCB".utf8), (0..<200).map { _ in .random(in: 0...255) }]
            for kind in Envelope.Kind.allCases {
                for (count, size) in [(0, 0), (1, 0), (1, 7), (1, 8), (1, 16), (1, 40), (2, 16), (3, 16)] {
                    for missed in [0, .max] as [UInt64] {
                        var writer = EnvelopeWriter(
                            .init(kind: kind, hops: 1, machine: machine.hash, incarnation: 7, missed: missed))
                        for index in 0..<count {
                            let bytes = (0..<size).map { _ in
                                [0, 1, 255, .random(in: 0...255)].randomElement()! as UInt8
                            }
                            writer.append(position: UInt64(index + 1), bytes.span.bytes)
                        }
                        bodies.append(writer.finish())
                    }
                }
            }
            return bodies
        }

        @Test(.timeLimit(.minutes(5))) func bridgesGoOnWhateverIsSentToThem() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = [network.machine("here"), network.machine("there")]
            let all: [(ChannelPattern, String)] = [
                (.topic, "all/topic"), (.topic, "all/fast"), (.workQueue, "all/queue"), (.service, "all/service"),
                (.latest, "all/latest"), (.event, "all/event"),
            ]
            let names = try all.map { (pattern: $0, name: try ChannelName($1)) }
            for machine in machines {
                for (pattern, name) in names {
                    _ = try AnyChannel.create(
                        pattern, name.description, in: machine.root,
                        pattern == .topic
                            ? ChannelOptions(writers: .shared, lifetime: .kept) : ChannelOptions(lifetime: .kept))
                }
                try machine.configure(Self.rules)
                try machine.startBridge()
            }
            for machine in machines {
                try await wait("\(machine.name) carries; its bridge says \(machine.log)") {
                    let carriers = try machine.carriers()
                    return carriers.count >= 2 * names.count
                        && carriers.allSatisfy {
                            $0["pattern"] != .string("topic") || $0["state"] == .string("carrying")
                        }
                }
            }
            let connection = try NATSConnection(
                ServerConfiguration(servers: ["nats://127.0.0.1:\(network.port)"]), name: "stranger")
            try await connection.waitUntilConnected()
            let server = ServerNames(prefix: "ipc")
            let here = try #require(Machine("here"))
            for body in Self.bodies(from: here) {
                for (pattern, name) in names {
                    for kind in ["t", "b", "q", "s", "c", "e", "h"].compactMap({ ServerNames.Kind(rawValue: $0) }) {
                        for subject in [server.subject(kind, of: here, name), server.subject(kind, name)] {
                            try connection.publish(subject, reply: "_INBOX.nobody", body)
                        }
                    }
                    try connection.publish("$KV.\(server.latestBucket).\(server.key(name))", body)
                    try connection.publish(
                        "$KV.\(server.directoryBucket).\(server.directoryKey(pattern, here, name))", body)
                }
            }
            _ = try await connection.roundTrip()
            await connection.close()

            // What is sent now arrives, after whatever the strangers had put there.
            func channel(_ index: Int, of machine: Int) throws -> AnyChannel {
                try AnyChannel.open(names[index].name.description, in: machines[machine].root)
            }
            for index in 0...1 {
                var reader = try channel(index, of: 1).makeReader()
                var writer = try channel(index, of: 0).makeWriter()
                let expected = Array("after all that, \(index)".utf8)
                let deadline = Deadline.after(.seconds(60))
                while true {
                    // What is best effort may be lost while the connection is made anew.
                    try await writer.write(expected.span.bytes, until: deadline)
                    do {
                        if try await reader.receive(until: .after(.seconds(index == 0 ? 60 : 1))) == expected { break }
                    } catch { try #require(!deadline.hasPassed, "\(names[index].name): \(machines[1].log)") }
                }
            }
            var worker = try channel(2, of: 1).makeReader()
            var producer = try channel(2, of: 0).makeWriter()
            try await producer.write(Array("a job".utf8).span.bytes, until: .after(.seconds(10)))
            while true {
                let job = try await worker.take(until: .after(.seconds(60)))
                let bytes = try job.bytes
                try job.acknowledge()
                if bytes == Array("a job".utf8) { break }
            }
        }
    }
#endif
