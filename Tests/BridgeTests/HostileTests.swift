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
            // The bridge that writes to a stream reads what it ends with.
            var piece = EnvelopeWriter(.init(kind: .part, machine: machine.hash, incarnation: 7))
            piece.append(position: 1, [UInt8](repeating: 255, count: 8).span.bytes)
            return bodies + [piece.finish()]
        }

        private func stranger(in network: TestNetwork) async throws -> NATSConnection {
            let connection = try NATSConnection(
                ServerConfiguration(servers: ["nats://127.0.0.1:\(network.port)"]), name: "stranger")
            try await connection.waitUntilConnected()
            return connection
        }

        /// Those on which anybody can publish, without wildcards, once there are four.
        private static func subjectsOfStreams(_ connection: NATSConnection) async throws -> [String] {
            for _ in 0..<1000 {
                let subjects = try await presentSubjects(connection)
                if subjects.count >= 4 { return subjects }
                try await Task.sleep(for: .milliseconds(20))
            }
            Issue.record("the streams have too few subjects")
            return []
        }

        private static func presentSubjects(_ connection: NATSConnection) async throws -> [String] {
            guard case .array(let streams)? = try await connection.api("STREAM.LIST", what: "the streams")["streams"]
            else {
                return []
            }
            return streams.flatMap { stream -> [String] in
                guard case .array(let subjects)? = stream["config"]?["subjects"] else { return [] }
                return subjects.compactMap(\.string).filter { !$0.contains("*") && !$0.contains(">") }
            }
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
                    // Both topics out, and in from the other machine.
                    let topics = try machine.carriers().filter { $0["pattern"] == .string("topic") }
                    return topics.count == 4 && topics.allSatisfy { $0["state"] == .string("carrying") }
                }
            }
            let connection = try await stranger(in: network)
            let server = ServerNames(prefix: "ipc")
            let here = try #require(Machine("here"))
            var subjects = try await Self.subjectsOfStreams(connection)
            for (pattern, name) in names {
                for kind in ["t", "b", "q", "s", "c", "e", "h"].compactMap({ ServerNames.Kind(rawValue: $0) }) {
                    subjects += [server.subject(kind, of: here, name), server.subject(kind, name)]
                }
                subjects.append("$KV.\(server.latestBucket).\(server.key(name))")
                subjects.append("$KV.\(server.directoryBucket).\(server.directoryKey(pattern, here, name))")
            }
            for body in Self.bodies(from: here) {
                for subject in subjects { try connection.publish(subject, reply: "_INBOX.nobody", body) }
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
                    } catch {
                        try #require(!deadline.hasPassed, "\(names[index].name): \(machines.map { $0.log })")
                    }
                }
            }
            var worker = try channel(2, of: 1).makeReader()
            var producer = try channel(2, of: 0).makeWriter()
            try await producer.write(Array("a job".utf8).span.bytes, until: .after(.seconds(10)))
            do {
                while try await Self.next(&worker) != Array("a job".utf8) {}
            } catch {
                Issue.record("\(error): \(machines.map { $0.log })")
            }
        }

        private static func next(_ worker: inout ChannelReader) async throws -> [UInt8] {
            let job = try await worker.take(until: .after(.seconds(30)))
            let bytes = try job.bytes
            try job.acknowledge()
            return bytes
        }

        @Test(.timeLimit(.minutes(5))) func whatABridgeOfAnotherVersionWroteIsNotThrownAway() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = [network.machine("here"), network.machine("there")]
            for machine in machines {
                _ = try AnyChannel.create(
                    .topic, "all/topic", in: machine.root, ChannelOptions(writers: .shared, lifetime: .kept))
                _ = try AnyChannel.create(.workQueue, "all/queue", in: machine.root, ChannelOptions(lifetime: .kept))
                try machine.configure(#"{"name": "all/**"}"#)
                try machine.startBridge()
            }
            let worker = try AnyChannel.open("all/queue", in: machines[1].root).makeReader()
            let connection = try await stranger(in: network)
            let subjects = try await Self.subjectsOfStreams(connection).filter { $0.contains(".here.") }
            #expect(subjects.count == 2, "\(subjects)")
            let here = try #require(Machine("here"))
            for subject in subjects {
                let kind: Envelope.Kind = subject.hasPrefix("ipc.q.") ? .job : .batch
                var writer = EnvelopeWriter(.init(kind: kind, machine: here.hash, incarnation: 7))
                writer.append(position: 1, Array("of tomorrow".utf8).span.bytes)
                var body = writer.finish()
                body[4] = 3
                try connection.publish(subject, body)
            }
            try await wait("there says so: \(machines[1].log)") {
                try machines[1].log.contains("it has version 3")
                    && machines[1].carriers().contains {
                        guard $0["state"] == .string("refused"), case .string(let reason)? = $0["reason"] else {
                            return false
                        }
                        return reason.contains("it has version 3")
                    }
            }
            try await Task.sleep(for: .milliseconds(300))
            let names = ServerNames(prefix: "ipc")
            for (kind, name) in [(.queue, "all/queue"), (.topic, "all/topic")] as [(ServerNames.Kind, String)] {
                let state = try await connection.streamState(names.stream(kind, of: here, try ChannelName(name)))
                #expect(state?.messages == 1, "\(name)")
            }
            await connection.close()
            worker.close()
        }

        /// The bridge that carries it on adds its own count.
        @Test(.timeLimit(.minutes(5))) func aJobThatSaysThatItFailedAnyNumberOfTimesEndsNoBridge() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = [network.machine("here"), network.machine("there")]
            for machine in machines {
                _ = try AnyChannel.create(.workQueue, "all/queue", in: machine.root, ChannelOptions(lifetime: .kept))
                try machine.configure(#"{"name": "all/**", "after": "0ms"}"#)
                try machine.startBridge()
            }
            let queue = try AnyChannel.open("all/queue", in: machines[1].root)
            let connection = try await stranger(in: network)
            var subjects: [String] = []
            for _ in 0..<500 where subjects.isEmpty {
                subjects = try await Self.presentSubjects(connection).filter { $0.contains(".here.") }
                try await Task.sleep(for: .milliseconds(20))
            }
            let here = try #require(Machine("here"))
            for (number, missed) in [0, .max, UInt64(Int64.max)].enumerated() {
                var writer = EnvelopeWriter(.init(kind: .job, machine: here.hash, incarnation: 7, missed: missed))
                writer.append(position: UInt64(number + 1), [UInt8(number)].span.bytes)
                try connection.publish(try #require(subjects.first), writer.finish())
            }
            // For workers that do nothing they come, and leave again for other machines.
            let workers = try (0..<4).map { _ in try Box(queue.makeReader()) }
            try await wait("they are dead letters: \(machines[1].log)") {
                guard let letters = try? AnyChannel.open("all/queue/dead-letters", in: machines[1].root) else {
                    return false
                }
                return try letters.pattern == .workQueue
                    && ChannelDescription(letters.name, in: machines[1].root).publishedCount >= 2
            }
            #expect(machines[1].isBridgeRunning, "\(machines[1].log)")
            await connection.close()
            _ = workers
        }
    }
#endif
