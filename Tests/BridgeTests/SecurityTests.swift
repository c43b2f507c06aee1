#if NATS
    import IPC
    import Testing

    @testable import IPCBridge

    @Suite(.serialized) struct SecurityTests {
        // A pair made for this test.
        static let seed = "SUAKU75XGMX4M3TMORXZUUMB65JPWFTSIGO5MX7UVGTGY4FSRKM7UQBMOU"
        static let publicKey = "UBT2APUQR4GLVJRMMUYFUBWYSQ2SVNA4CQHUB3YWFSZJ2F45PDBQYH6O"

        struct Case: CustomTestStringConvertible, Sendable {
            let testDescription: String
            let server: @Sendable (TestFolder) -> String
            let right: @Sendable (TestFolder, inout ServerConfiguration) throws -> Void
            let wrong: @Sendable (TestFolder, inout ServerConfiguration) throws -> Void
        }

        private static func tls(_ folder: TestFolder, _ name: String, _ more: String = "") -> String {
            "tls { cert_file: \"\(folder.path)/\(name).pem\", key_file: \"\(folder.path)/\(name).key\" \(more) }"
        }

        static let cases: [Case] = [
            Case(testDescription: "user and password") { _ in
                "authorization { user: u, password: p }"
            } right: {
                $1.user = "u"
                $1.password = "p"
            } wrong: {
                $1.user = "u"
                $1.password = "q"
            },
            Case(testDescription: "token") { _ in
                "authorization { token: secret }"
            } right: {
                $1.token = "secret"
            } wrong: {
                $1.token = "other"
            },
            Case(testDescription: "NKey") { _ in
                "authorization { users: [ { nkey: \(publicKey) } ] }"
            } right: {
                $1.nkey = .init(publicKey: publicKey, seedFile: try $0.write("seed", seed))
            } wrong: { _, _ in
            },
            Case(testDescription: "TLS with the server's name") {
                tls($0, "localhost")
            } right: {
                $1.tls = .init(authority: $0.path + "/localhost.pem")
            } wrong: {
                $1.tls = .init(authority: $0.path + "/other.example.pem")
            },
            Case(testDescription: "TLS with another name") {
                tls($0, "other.example")
            } right: {
                $1.tls = .init(authority: $0.path + "/other.example.pem", hostname: "other.example")
            } wrong: {
                $1.tls = .init(authority: $0.path + "/other.example.pem")
            },
            Case(testDescription: "TLS with a client's certificate") {
                tls($0, "localhost", ", ca_file: \"\($0.path)/other.example.pem\", verify: true")
            } right: {
                $1.tls = .init(
                    authority: $0.path + "/localhost.pem", certificate: $0.path + "/other.example.pem",
                    key: $0.path + "/other.example.key")
            } wrong: {
                $1.tls = .init(authority: $0.path + "/localhost.pem")
            },
        ]

        @Test(.timeLimit(.minutes(10)), arguments: cases)
        func theServerAndTheBridgeKnowEachOther(_ example: Case) async throws {
            let folder = try TestFolder()
            for name in ["localhost", "other.example"] {
                let made = try ChildProcess(
                    "openssl",
                    [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout",
                        "\(folder.path)/\(name).key", "-out", "\(folder.path)/\(name).pem", "-subj", "/CN=\(name)",
                        "-addext", "subjectAltName=DNS:\(name)", "-days", "2",
                    ], standardError: .discarded)
                #expect(try await made.wait() == .exited(0))
            }
            let server = try TestServer(example.server(folder), folder: folder)
            var right = ServerConfiguration(servers: ["nats://localhost:\(server.port)"])
            var wrong = right
            try example.right(folder, &right)
            try example.wrong(folder, &wrong)
            let connection = try NATSConnection(right, name: "right")
            try await connection.waitUntilConnected(for: .seconds(20))
            #expect(try await connection.roundTrip() < .seconds(5))
            let refused = try NATSConnection(wrong, name: "wrong")
            await #expect(throws: BridgeError.self) { try await refused.waitUntilConnected(for: .seconds(1)) }
            #expect(refused.lastError != connection.lastError)
            await refused.close()
        }

        @Test(.timeLimit(.minutes(10))) func aFileThatIsNotThereIsToldBeforeAnythingStarts() {
            for change in [
                { $0.tls = .init(authority: "/nowhere.pem") }, { $0.tls = .init(certificate: "/nowhere.pem") },
                { $0.tls = .init(certificate: "/nowhere.pem", key: "/nowhere.key") }, { $0.servers = [] },
            ] as [(inout ServerConfiguration) -> Void] {
                var configuration = ServerConfiguration()
                change(&configuration)
                #expect(throws: BridgeError.self) { _ = try NATSConnection(configuration, name: "test") }
            }
        }
    }
#endif
