#if NATS
    import Testing

    @testable import IPCBridge

    @Suite(.serialized) struct WorkTests {
        /// A work queue with jobs of one byte.
        private func makeQueue(_ connection: NATSConnection, jobs: Int) async throws {
            try await connection.waitUntilConnected()
            _ = try await connection.ensureStream(
                StreamSettings(name: "jobs", subjects: ["test.jobs"], retention: .workQueue))
            let writer = StreamWriter(connection, stream: "jobs", subject: "test.jobs", after: 0)
            for job in 0..<jobs { _ = try await writer.send([UInt8(truncatingIfNeeded: job)]) }
            try await writer.waitForAcknowledgement(of: UInt64(jobs))
        }

        @Test(.timeLimit(.minutes(10))) func aJobIsGivenAgainUntilItIsEnded() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            try await makeQueue(connection, jobs: 3)
            let reader = WorkReader(connection, stream: "jobs", acknowledgementWait: .seconds(6))
            #expect(try await reader.next(credit: 0, timeout: .milliseconds(200)) == nil)
            let first = try #require(try await reader.next(timeout: .seconds(20)))
            #expect(first.sequence == 1 && first.deliveries == 1 && first.message?.bytes == [0])
            // No credit, no job.
            #expect(try await reader.next(credit: 0, timeout: .milliseconds(200)) == nil)
            try reader.giveBack(first)
            // Before or after the others.
            var others: [WorkMessage] = []
            var again = try #require(try await reader.next(timeout: .seconds(20)))
            while again.sequence != 1 {
                others.append(again)
                again = try #require(try await reader.next(timeout: .seconds(20)))
            }
            #expect(again.deliveries == 2)
            try await reader.acknowledge(again)
            #expect(try await connection.streamState("jobs")?.messages == 2)
            // Confirmed again, though it is gone.
            try await reader.acknowledge(first)
            while others.count < 2 { others.append(try #require(try await reader.next(timeout: .seconds(20)))) }
            #expect(others.map { $0.sequence } == [2, 3])
            try await reader.terminate(others[0], reason: "nobody can do it")
            #expect(try await connection.streamState("jobs")?.messages == 1)
            let third = others[1]
            let start = ContinuousClock.now
            for _ in 0..<8 {
                #expect(try await reader.next(timeout: .seconds(1)) == nil)
                try reader.inProgress(third)
            }
            let state = try await reader.state()
            #expect(state.waiting == 0 && state.given == 1)
            // Nobody says that it is in progress any more.
            let redelivered = try #require(try await reader.next(timeout: .seconds(20)))
            #expect(redelivered.sequence == 3 && redelivered.deliveries == 2)
            #expect(.now - start >= .seconds(13))
            let delayed = ContinuousClock.now
            try reader.giveBack(redelivered, after: .seconds(1))
            let last = try #require(try await reader.next(timeout: .seconds(20)))
            #expect(.now - delayed >= .milliseconds(900))
            #expect(last.deliveries == 3)
            try await reader.acknowledge(last)
            #expect(try await connection.streamState("jobs")?.messages == 0)
        }

        @Test(.timeLimit(.minutes(10))) func eachJobIsDoneThoughTheServerIsKilledAndTwoShareThem() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            let jobs = 500
            try await makeQueue(connection, jobs: jobs)
            let connections = [connection, try server.connect("other")]
            let done = try await withThrowingTaskGroup(of: [UInt64].self) { group in
                for (index, connection) in connections.enumerated() {
                    group.addTask {
                        let reader = WorkReader(connection, stream: "jobs", acknowledgementWait: .seconds(2))
                        var done: [UInt64] = []
                        while let work = try await reader.next(credit: 8, timeout: .seconds(6)) {
                            try await reader.acknowledge(work)
                            done.append(work.sequence)
                            if index == 0, done.count == 100 {
                                server.kill()
                                try server.start()
                            }
                        }
                        return done
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(Set(done) == Set(1...UInt64(jobs)))
            #expect(try await connection.streamState("jobs")?.messages == 0)
        }
    }

    @Suite(.serialized) struct BucketTests {
        @Test(.timeLimit(.minutes(10))) func aWatchTellsTheNewestThroughARestartOfTheServer() async throws {
            let server = try TestServer()
            let (writing, watching) = (try server.connect("writer"), try server.connect("watcher"))
            let bucket = Bucket(writing, "values")
            try await bucket.ensure()
            try await bucket.ensure()
            let watch = Bucket(watching, "values").watch()
            #expect(try await watch.next(timeout: .seconds(20)) == .complete)
            let first = try await bucket.put("a.b", [1])
            let second = try await bucket.put("a.c", [2])
            #expect(second > first)
            let third = try await bucket.put("a.b", [3], ifRevision: first)
            do throws(BridgeError) {
                try await bucket.put("a.b", [4], ifRevision: first)
                Issue.record("another revision was overwritten")
            } catch {
                #expect(error.isOtherRevision)
            }
            #expect(try await bucket.get("a.b")?.value == [3])
            #expect(try await bucket.get("a.d") == nil)
            // Of the values of a key that were not taken in time, only the newest is there.
            var newest: [String: UInt64] = [:]
            while newest["a.b"] != third {
                guard case .entry(let entry)? = try await watch.next(timeout: .seconds(20)) else {
                    Issue.record("no entry came")
                    return
                }
                newest[entry.key] = entry.revision
                if entry.revision == third { #expect(entry.value == [3]) }
            }
            #expect(newest == ["a.b": third, "a.c": second])
            server.kill()
            try server.start()
            let fourth = try await bucket.put("a.c", [5])
            try await bucket.delete("a.b")
            var told: [String: [UInt8]?] = [:]
            while told["a.b"] == nil {
                guard case .entry(let entry)? = try await watch.next(timeout: .seconds(20)) else { break }
                if entry.key == "a.c" { #expect(entry.revision == fourth) }
                told[entry.key] = .some(entry.value)
            }
            #expect(told == ["a.c": [5], "a.b": nil])
            #expect(try await bucket.get("a.b") == nil)
            let later = Bucket(watching, "values").watch("a.c")
            guard case .entry(let entry)? = try await later.next(timeout: .seconds(20)) else {
                Issue.record("no entry came")
                return
            }
            #expect(entry.value == [5])
            #expect(try await later.next(timeout: .seconds(20)) == .complete)
        }
    }
#endif
