#if NATS
    import IPCChannels
    import SystemPackage
    import Testing

    @testable import IPCBridge

    /// A body that only this sequence has.
    private func payload(_ sequence: UInt64) -> [UInt8] { Array("message \(sequence)".utf8) }

    /// Writes `total` messages, going back to what the stream has after each doubt.
    /// - Returns: How often it was in doubt.
    private func write(_ total: UInt64, to stream: String, _ connection: NATSConnection) async throws -> Int {
        var doubts = 0
        var acknowledged: UInt64 = 0
        while true {
            let last = try #require(try await connection.streamState(stream)).lastSequence
            #expect(last >= acknowledged, "what was acknowledged is lost")
            let writer = StreamWriter(connection, stream: stream, subject: "test.\(stream)", after: last)
            do throws(BridgeError) {
                while writer.sent < total { _ = try await writer.send(payload(writer.sent + 1)) }
                try await writer.waitForAcknowledgement(of: total)
                return doubts
            } catch {
                guard case .doubt = error else { throw error }
            }
            doubts += 1
            acknowledged = writer.acknowledged
            try await connection.waitUntilConnected()
        }
    }

    @Suite(.serialized) struct StreamTests {
        @Test(.timeLimit(.minutes(10))) func streamsThatWereMadeAfterTheStartOfTheBridgeAreNew() async throws {
            let server = try TestServer()
            let folder = try TestFolder()
            let connection = try server.connect()
            try await connection.waitUntilConnected()
            _ = try await connection.ensureStream(StreamSettings(name: "ipc-t-old", subjects: ["old"]))
            // More than the two seconds that a bridge may start later than its command.
            try await Task.sleep(for: .milliseconds(2500))
            let start = ContinuousClock.now
            _ = try await connection.ensureStream(StreamSettings(name: "ipc-t-new", subjects: ["new"]))
            let history = TopicHistory(ServerNames(prefix: "ipc"), in: ChannelRoot(FilePath(folder.path)))
            try await history.begin(connection, since: start)
            #expect(history.isNew("ipc-t-new") && history.isNew("ipc-t-later") && !history.isNew("ipc-t-old"))
            // It is noted once.
            try await history.begin(connection, since: start - .seconds(60))
            #expect(!history.isNew("ipc-t-old"))
            await connection.close()
        }

        @Test(.timeLimit(.minutes(10))) func messagesAreStoredAndReadOnceAndInOrderThoughTheServerIsKilled()
            async throws
        {
            let server = try TestServer()
            let (writing, reading) = (try server.connect("writer"), try server.connect("reader"))
            _ = try await writing.ensureStream(StreamSettings(name: "numbers", subjects: ["test.numbers"]))
            let total: UInt64 = 20_000
            async let doubts = write(total, to: "numbers", writing)
            let reader = StreamReader(reading, stream: "numbers", from: .sequence(1))
            for expected in 1...total {
                let next = try #require(try await reader.next(timeout: .seconds(90)))
                guard next.sequence == expected, next.missed == 0, next.message.bytes == payload(expected) else {
                    Issue.record("after \(expected - 1) came \(next.sequence), missed \(next.missed)")
                    break
                }
                if [3_000, 9_000, 15_000].contains(expected) {
                    server.kill()
                    try server.start()
                }
            }
            #expect(try await doubts >= 1)
            #expect(reader.consumersMade >= 2)
            #expect(try await reader.next(timeout: .milliseconds(200)) == nil)
            #expect(try await writing.streamState("numbers")?.messages == total)
        }

        @Test(.timeLimit(.minutes(10))) func messagesAreStoredAndReadOnceAndInOrderThoughALeaderIsKilled() async throws
        {
            let cluster = try TestCluster()
            let connection = try cluster.connect()
            var settings = StreamSettings(name: "numbers", subjects: ["test.numbers"])
            settings.replicas = 3
            _ = try await connection.ensureStream(settings)
            let total: UInt64 = 3_000
            async let doubts = write(total, to: "numbers", connection)
            let reader = StreamReader(connection, stream: "numbers", from: .sequence(1))
            var expected: UInt64 = 1
            while expected <= total {
                let next = try #require(try await reader.next(timeout: .seconds(90)))
                guard next.sequence == expected, next.missed == 0, next.message.bytes == payload(expected) else {
                    Issue.record("after \(expected - 1) came \(next.sequence), missed \(next.missed)")
                    break
                }
                if expected == 1_000 {
                    let info = try await connection.api("STREAM.INFO.numbers", what: "the leader")
                    let leader = try #require(info["cluster"]?["leader"]?.string)
                    cluster.servers[Int(leader.dropFirst())!].kill()
                }
                expected += 1
            }
            #expect(try await doubts >= 1)
            // It is made anew for a reason only.
            #expect(reader.consumersMade <= 6, "\(reader.consumersMade) consumers were made")
            let quiet = StreamReader(connection, stream: "numbers", from: .new)
            #expect(try await quiet.next(timeout: .seconds(4)) == nil)
            #expect(quiet.consumersMade == 1)
        }

        @Test(.timeLimit(.minutes(10))) func aConsumerThatIsGivenToADeadServerIsMadeAnewOnAnother() async throws {
            let cluster = try TestCluster()
            let connection = try cluster.connect()
            var settings = StreamSettings(name: "numbers", subjects: ["test.numbers"])
            settings.replicas = 3
            _ = try await connection.ensureStream(settings)
            let info = try await connection.api("STREAM.INFO.numbers", what: "the leader")
            let leader = try #require(info["cluster"]?["leader"]?.string)
            cluster.servers[Int(leader.dropFirst())!].kill()
            // Every third is given to the server that was killed.
            for _ in 1...20 {
                let reader = StreamReader(connection, stream: "numbers", from: .sequence(1))
                #expect(try await reader.prepare(timeout: .seconds(30)))
            }
        }

        @Test(.timeLimit(.minutes(10))) func aSecondWriterStoresNothing() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            try await connection.waitUntilConnected()
            _ = try await connection.ensureStream(StreamSettings(name: "one", subjects: ["test.one"]))
            let first = StreamWriter(connection, stream: "one", subject: "test.one", after: 0)
            let second = StreamWriter(connection, stream: "one", subject: "test.one", after: 0)
            for sequence in 1...100 { #expect(try await first.send(payload(UInt64(sequence))) == sequence) }
            try await first.waitForAcknowledgement(of: 100)
            _ = try await second.send([0])
            do throws(BridgeError) {
                try await second.waitForAcknowledgement(of: 1)
                Issue.record("the second message of a sequence was acknowledged")
            } catch {
                guard case .doubt = error else { throw error }
            }
            #expect(second.acknowledged == 0)
            #expect(try await connection.streamState("one")?.lastSequence == 100)
            // A window of one message is enough, and a message that is too large breaks nothing.
            let third = StreamWriter(connection, stream: "one", subject: "test.one", after: 100, window: 1)
            await #expect(throws: BridgeError.self) {
                _ = try await third.send([UInt8](repeating: 1, count: connection.maximumPayload))
            }
            for _ in 0..<10 { _ = try await third.send([1]) }
            try await third.waitForAcknowledgement(of: 110)
            #expect(third.fault == nil)
        }

        @Test(.timeLimit(.minutes(10))) func aReaderStartsWhereItIsToldAndSaysWhatTheLimitsDropped() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            try await connection.waitUntilConnected()
            var settings = StreamSettings(name: "few", subjects: ["test.few"], metadata: ["a": "1"])
            settings.maximumMessages = 5
            _ = try await connection.ensureStream(settings)
            settings.metadata = ["b": "2"]
            settings.maximumMessages = 4
            let state = try await connection.ensureStream(settings)
            #expect(state.metadata["a"] == "1" && state.metadata["b"] == "2")
            let new = StreamReader(connection, stream: "few", from: .new)
            #expect(try await new.prepare())
            let writer = StreamWriter(connection, stream: "few", subject: "test.few", after: 0)
            for sequence in 1...10 {
                _ = try await writer.send(payload(UInt64(sequence)), headers: [("N", "\(sequence)")])
            }
            try await writer.waitForAcknowledgement(of: 10)
            let oldest = StreamReader(connection, stream: "few", from: .sequence(1))
            let first = try #require(try await oldest.next(timeout: .seconds(20)))
            #expect(first.sequence == 7 && first.missed == 6 && first.message.header("N") == "7")
            #expect(try await oldest.next(timeout: .seconds(20))?.missed == 0)
            let timed = StreamReader(connection, stream: "few", from: .time(nanoseconds: first.time + 1))
            #expect(try await timed.next(timeout: .seconds(20))?.sequence == 8)
            let last = StreamReader(connection, stream: "few", from: .last)
            #expect(try await last.next(timeout: .seconds(20))?.sequence == 10)
            #expect(try await new.next(timeout: .seconds(20)) != nil)
            let stored = try #require(try await connection.lastMessage(of: "few"))
            #expect(stored.sequence == 10 && stored.bytes == payload(10) && stored.header("N") == "10")
            #expect(try await connection.message(of: "few", 8)?.bytes == payload(8))
            #expect(try await connection.message(of: "few", 2) == nil)
            #expect(try await connection.streamNames(prefix: "fe") == ["few"])
            #expect(try await connection.streamNames(prefix: "x") == [])
            try await connection.purgeStream("few")
            #expect(try await connection.lastMessage(of: "few") == nil)
            #expect(try await connection.deleteStream("few"))
            #expect(try await connection.deleteStream("few") == false)
            #expect(try await connection.streamState("few") == nil)
            do throws(BridgeError) {
                _ = try await StreamReader(connection, stream: "few", from: .new).next(timeout: .seconds(20))
                Issue.record("a stream that is not there was read")
            } catch {
                #expect(error.isNoStream)
            }
        }

        @Test(.timeLimit(.minutes(10))) func aReaderThatHasNothingToReadKeepsItsConsumer() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            try await connection.waitUntilConnected()
            _ = try await connection.ensureStream(StreamSettings(name: "quiet", subjects: ["test.quiet"]))
            let reader = StreamReader(connection, stream: "quiet", from: .sequence(1), window: 4)
            #expect(try await reader.next(timeout: .seconds(7)) == nil)
            let writer = StreamWriter(connection, stream: "quiet", subject: "test.quiet", after: 0)
            for sequence in 1...50 as ClosedRange<UInt64> {
                _ = try await writer.send(payload(sequence))
                #expect(try await reader.next(timeout: .seconds(20))?.sequence == sequence)
            }
            #expect(try await reader.next(timeout: .seconds(7)) == nil)
            #expect(reader.consumersMade == 1)
            // One that was taken from it is made again when somebody knows that it lacks something.
            let names = try await connection.api("CONSUMER.NAMES.quiet", what: "the consumers")
            guard case .array(let consumers)? = names["consumers"], let name = consumers.first?.string else {
                Issue.record("there is no consumer")
                return
            }
            _ = try await connection.api("CONSUMER.DELETE.quiet.\(name)", what: "to delete a consumer")
            _ = try await writer.send(payload(51))
            reader.nudge(knownSequence: 51)
            #expect(try await reader.next(timeout: .seconds(20))?.sequence == 51)
            #expect(reader.consumersMade == 2)
        }

        @Test func aTimeIsWrittenAsJetStreamReadsIt() {
            #expect(text(ofTime: 0) == "1970-01-01T00:00:00.000000000Z")
            #expect(text(ofTime: 951_782_399_000_000_001) == "2000-02-28T23:59:59.000000001Z")
            #expect(text(ofTime: 951_782_400_000_000_000) == "2000-02-29T00:00:00.000000000Z")
            #expect(text(ofTime: 1_796_040_000_500_000_000) == "2026-11-30T12:00:00.500000000Z")
            #expect(text(ofTime: -1) == "1969-12-31T23:59:59.999999999Z")
        }
    }
#endif
