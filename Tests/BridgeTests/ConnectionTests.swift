#if NATS
    import Foundation
    import Glibc
    import TestSupport
    import Testing

    @testable import IPCBridge

    @Suite(.serialized) struct ConnectionTests {
        @Test(.timeLimit(.minutes(10))) func aRequestIsAnsweredOrToldAtOnceThatNobodyTakesIt() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            try await connection.waitUntilConnected()
            let clock = ContinuousClock()
            let nobody = await clock.measure {
                await #expect(throws: BridgeError.noResponders("test.nobody")) {
                    _ = try await connection.request("test.nobody", [1], timeout: .seconds(20))
                }
            }
            #expect(nobody < .seconds(5))
            let questions = connection.subscribe("test.*.double", queue: "servers")
            async let served: Void = {
                while let question = try await questions.next(timeout: .seconds(20)) {
                    guard let reply = question.reply else { return }
                    let back = question.header("Name").map { [("Name", $0)] } ?? []
                    try connection.publish(reply, headers: back, question.bytes + question.bytes)
                }
            }()
            for size in [0, 1, 1000, 500_000] {
                let bytes = [UInt8](repeating: UInt8(size & 0xff), count: size)
                let answer = try await connection.request(
                    "test.\(size).double", headers: [("Name", "n\(size)")], bytes, timeout: .seconds(20))
                #expect(answer.bytes == bytes + bytes)
                #expect(answer.header("Name") == "n\(size)")
                #expect(answer.status == nil)
            }
            #expect(try await connection.roundTrip() < .seconds(5))
            try connection.publish("test.end.double", [])
            try await served
            #expect(throws: BridgeError.self) {
                try connection.publish("test.a", [UInt8](repeating: 0, count: 2 << 20))
            }
            await connection.close()
            await #expect(throws: BridgeError.closed) { _ = try await questions.next() }
            #expect(throws: BridgeError.closed) { try connection.publish("test.a", []) }
        }

        @Test(.timeLimit(.minutes(10))) func aWaitEndsWithItsTimeAndWithItsTask() async throws {
            let server = try TestServer()
            let connection = try server.connect()
            try await connection.waitUntilConnected()
            let mailbox = connection.makeMailbox()
            for milliseconds in [200, 20, 100] {
                let start = ContinuousClock.now
                #expect(try await mailbox.next(timeout: .milliseconds(milliseconds)) == nil)
                #expect(.now - start >= .milliseconds(milliseconds))
            }
            let waiting = Task { try await mailbox.next() }
            waiting.cancel()
            await #expect(throws: BridgeError.cancelled) { _ = try await waiting.value }
            let late = Task { try await mailbox.next(timeout: .seconds(20))?.bytes }
            try connection.publish(mailbox.subject + ".more", [7])
            #expect(try await late.value == [7])
            let ended = Task { try await mailbox.next() }
            mailbox.close()
            await #expect(throws: BridgeError.closed) { _ = try await ended.value }
        }

        @Test(.timeLimit(.minutes(10))) func aLostConnectionIsToldAtOnceAndComesBack() async throws {
            let server = try TestServer()
            server.kill()
            let connection = try server.connect()
            await #expect(throws: BridgeError.self) { try await connection.waitUntilConnected(for: .milliseconds(300)) }
            #expect(throws: BridgeError.self) { try connection.publish("test", []) }
            let subscription = connection.subscribe("test.hello")
            try server.start()
            try await connection.waitUntilConnected()
            #expect(connection.epoch == 1)
            let mailbox = connection.makeMailbox()
            async let lost: Void = {
                await #expect(throws: BridgeError.connectionLost) { _ = try await mailbox.next() }
            }()
            server.kill()
            await lost
            try server.start()
            try await connection.waitUntilConnected()
            #expect(connection.epoch == 2)
            try connection.publish("test.hello", [1])
            #expect(try await subscription.next(timeout: .seconds(20))?.bytes == [1])
        }

        @Test(.timeLimit(.minutes(10))) func aServerThatRefusesIsAskedSeldomAndItsReasonIsKept() async throws {
            let server = try TestServer("authorization { user: u, password: p }")
            var configuration = ServerConfiguration(servers: [server.url])
            (configuration.user, configuration.password) = ("u", "q")
            let connection = try NATSConnection(configuration, name: "wrong")
            await #expect(throws: BridgeError.self) { try await connection.waitUntilConnected(for: .seconds(5)) }
            // One that cannot be made subscribes to nothing, which is no reason.
            #expect(connection.lastError.lowercased().contains("authorization"), "\(connection.lastError)")
            let log = try String(contentsOfFile: "\(server.folder.path)/one.log", encoding: .utf8)
            let attempts = log.components(separatedBy: "authentication error").count - 1
            #expect((2...40).contains(attempts), "\(attempts) attempts")
            // By now the pauses are long.
            let start = ContinuousClock.now
            await connection.close()
            #expect(.now - start < .seconds(1))
        }

        @Test(.timeLimit(.minutes(10))) func aConnectionClosesAtOnceThoughServersDoNotAnswer() async throws {
            // The system accepts, and nobody says anything.
            let silent = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            defer { Glibc.close(silent) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let isListening = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(silent, $0, length) == 0 && listen(silent, 16) == 0 && getsockname(silent, $0, &length) == 0
                }
            }
            try #require(isListening)
            let url = "nats://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
            let connection = try NATSConnection(ServerConfiguration(servers: [url]), name: "test")
            await #expect(throws: BridgeError.self) { try await connection.waitUntilConnected(for: .milliseconds(300)) }
            let waiting = Task { try await connection.waitUntilConnected() }
            try await Task.sleep(for: .milliseconds(50))
            let start = ContinuousClock.now
            await connection.close()
            #expect(.now - start < .seconds(1))
            await #expect(throws: BridgeError.closed) { try await waiting.value }
            #expect(throws: BridgeError.closed) { try connection.publish("test", []) }
            #expect(connection.lastError.contains("no server has answered"))
        }

        @Test(.timeLimit(.minutes(10))) func aPasswordThatBecomesRightConnects() async throws {
            let server = try TestServer("authorization { user: u, password: p }")
            var configuration = ServerConfiguration(servers: [server.url])
            (configuration.user, configuration.password) = ("u", "q")
            let connection = try NATSConnection(configuration, name: "wrong")
            let subscription = connection.subscribe("test.hello")
            await #expect(throws: BridgeError.self) { try await connection.waitUntilConnected(for: .seconds(1)) }
            server.kill()
            let other = try TestServer("authorization { user: u, password: q }", port: server.port)
            try await connection.waitUntilConnected(for: .seconds(20))
            try connection.publish("test.hello", [1])
            #expect(try await subscription.next(timeout: .seconds(20))?.bytes == [1])
            await connection.close()
            other.kill()
        }

        @Test(.timeLimit(.minutes(10))) func whatTheServerForbidsIsTold() async throws {
            let server = try TestServer(
                """
                authorization { users: [{ user: u, password: p, permissions: {
                  publish: { deny: ["no.>", "$JS.API.>"] }, subscribe: { deny: "never.>" } } }] }
                """)
            var configuration = ServerConfiguration(servers: [server.url])
            (configuration.user, configuration.password) = ("u", "p")
            let connection = try NATSConnection(configuration, name: "test")
            try await connection.waitUntilConnected()
            #expect(connection.violations == [])
            let mailbox = connection.subscribe("never.a.*", queue: "servers")
            await #expect(
                throws: BridgeError.forbidden(
                    "the server forbids this user to subscribe to never.a.*; allow it in the server's permissions")
            ) { _ = try await mailbox.next(timeout: .seconds(20)) }
            let start = ContinuousClock.now
            for _ in 0..<3 { try connection.publish("no.a", []) }
            await #expect(
                throws: BridgeError.forbidden(
                    "the server forbids this user to publish to $JS.API.>; allow it in the server's permissions")
            ) { _ = try await connection.api("STREAM.INFO.a", what: "test", timeout: .seconds(2)) }
            #expect(connection.violation(publishingTo: "no.a", since: start)?.permission == "no.a")
            #expect(connection.violation(publishingTo: "no.b", since: start) == nil)
            #expect(connection.violation(publishingTo: "no.a", since: .now) == nil)
            #expect(connection.violations.count == 3)
            await connection.close()
        }

        @Test(arguments: [
            (#"Permissions Violation for Publish to "ipc.t.a.b""#, Violation.Action.publish, "ipc.t.a.b"),
            (#"permissions violation for subscription to "_INBOX.x.y.>""#, .subscribe, "_INBOX.>"),
            (#"Permissions Violation for Subscription to "s" using queue "q""#, .subscribe, "s"),
            (#"Permissions Violation for Publish to "$KV.ipc-latest.a""#, .publish, "$KV.ipc-latest.>"),
            (#"Permissions Violation for Publish to "$JS""#, .publish, "$JS"),
            (#"Permissions Violation for Publish to "x"#, .publish, "x"),
            ("Permissions Violation", nil, ""), ("", nil, ""), (#"Authorization Violation "a""#, nil, ""),
            (#"Permissions Violation for Publish to """#, nil, ""),
        ])
        func violationsAreRead(text: String, action: Violation.Action?, permission: String) {
            let violation = Violation(text)
            #expect(violation?.action == action)
            #expect((violation?.permission ?? "") == permission)
        }

        @Test(.timeLimit(.minutes(10))) func aForgottenConnectionEnds() async throws {
            let server = try TestServer()
            var connection: NATSConnection? = try server.connect()
            try await connection!.waitUntilConnected()
            weak let router = connection!.router
            var mailbox: Mailbox? = connection!.makeMailbox()
            connection = nil
            do throws(BridgeError) {
                _ = try await mailbox!.next()
                Issue.record("a message came from nowhere")
            } catch {
                #expect(error == .closed)
            }
            mailbox = nil
            // The library's threads let go of it.
            while router != nil { try await Task.sleep(for: .milliseconds(10)) }
        }
    }
#endif
