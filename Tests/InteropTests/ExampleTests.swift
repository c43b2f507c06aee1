import IPC
import TestSupport
import Testing

/// Every program in `Examples/` is run, and says what its comments promise.
@Suite(.timeLimit(.minutes(15))) struct ExampleTests {
    private func output(_ name: String) throws -> String {
        let peer = try Peer(product(name), [])
        let (status, text) = try peer.finish(within: .seconds(90))
        #expect(status == .exited(0))
        return text
    }

    @Test func pipes() throws {
        let text = try output("Pipes")
        #expect(text.contains("HELLO, CHILD") && text.contains("the child ended with exit code 0"))
        #expect(text.contains("wc ended(exit code 0)"))
    }

    @Test func namedPipes() throws {
        let text = try output("NamedPipes")
        #expect(text.contains("read: hello from") && text.contains("reader: exit code 0"))
    }

    @Test func sharedMemory() throws {
        #expect(try output("SharedMemoryAndSemaphores") == "counted to 200000 of 200000\n")
    }

    @Test func mappedFiles() throws {
        #expect(try output("MappedFiles").hasSuffix("found 42 in a file of 16384 bytes\n"))
    }

    @Test func messageQueues() throws {
        #expect(try output("MessageQueues") == "9 fire!\n5 cook\n1 sweep\n1 wash\n")
    }

    @Test func sockets() throws {
        let text = try output("Sockets")
        #expect(text.split(separator: "\n").filter { $0 == "answer: is anybody there?" }.count == 3)
        #expect(
            text.split(separator: "\n").filter { $0.hasSuffix("client: exit code 0 server: exit code 0") }.count == 3)
    }

    @Test func reapingChildren() throws {
        #expect(try output("ReapingChildren") == "exit code 1\nexit code 2\nexit code 3\n")
    }

    @Test func producerConsumer() throws {
        #expect(try output("ProducerConsumer") == "consumed 150015000 of 150015000\n")
    }

    @Test func topics() throws {
        _ = channelRoot
        #expect(try output("Topics") == "sum 450000.0\nsum 450000.0\n")
    }

    @Test func workQueues() throws {
        _ = channelRoot
        #expect(try output("WorkQueues") == "took job 1\ndone 5050 of 5050\n")
    }

    @Test func latestValues() throws {
        _ = channelRoot
        #expect(try output("LatestValues").hasPrefix("at last 21.0 degrees, "))
    }

    @Test func services() throws {
        _ = channelRoot
        #expect(
            try output("Services") == """
                took order 1
                the call is lost: true
                order 1 costs 12.5
                order 2 costs 25.0
                order 500 is unknown

                """)
    }

    @Test func events() throws {
        _ = channelRoot
        let line = "configuration read again\n"
        #expect(try output("Events") == line + line + line + "server: exit code 0\n")
    }

    @Test func logLevel() throws {
        let peer = try Peer(product("LogLevel"), [])
        #expect(try peer.said().hasPrefix("log level warning"))
        try peer.child.handle.send(.userDefined1)
        #expect(try peer.said() == "log level info\n")
        try peer.child.handle.send(.userDefined2)
        #expect(try peer.said() == "log level warning\n")
        try peer.child.handle.send(.terminate)
        let status = try peer.finish().status
        #expect(status == .exited(0))
    }

    @Test func gracefulShutdown() throws {
        let peer = try Peer(product("GracefulShutdown"), [])
        _ = try peer.said()
        try peer.child.handle.send(.interrupt)
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text.hasPrefix("SIGINT: ending in order"))
    }
}
