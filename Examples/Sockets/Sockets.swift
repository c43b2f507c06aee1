// Sockets: a server that echoes, over TCP, a Unix stream and UDP. `Sockets serve ENDPOINT` and `Sockets ask ENDPOINT`,
// or without arguments for a server and a client of each kind.
import Glibc
import IPC
import SystemPackage

@main
struct Sockets {
    static func main() throws {
        let arguments = CommandLine.arguments
        if arguments.count == 3 {
            let endpoint = try Endpoint(arguments[2])
            return arguments[1] == "serve" ? try serve(endpoint) : try ask(endpoint)
        }
        for text in [
            "tcp://127.0.0.1:\(20000 + getpid() % 10000)", "unix:///tmp/ipc-example-\(getpid())",
            "udp://127.0.0.1:\(20000 + getpid() % 10000)",
        ] {
            let server = try ChildProcess("/proc/self/exe", ["serve", text])
            let client = try ChildProcess("/proc/self/exe", ["ask", text])
            print(
                text.prefix { $0 != ":" }, "client:", try client.wait(until: .after(.seconds(10))), "server:",
                try server.wait(until: .after(.seconds(10))))
        }
    }

    /// socket, bind, listen, accept, read, write, close
    static func serve(_ endpoint: Endpoint) throws {
        if case .udp = endpoint { return try answerOne(try DatagramSocket(endpoint)) }
        let listener = try StreamListener(endpoint)
        let connection = try listener.accept(until: .after(.seconds(10)))
        let question = try connection.readToEnd(until: .after(.seconds(10)))
        try connection.write(question.span.bytes)
    }

    /// A datagram has a sender to answer.
    static func answerOne(_ socket: borrowing DatagramSocket) throws {
        var buffer = [UInt8](repeating: 0, count: 2048)
        var elements = buffer.mutableSpan
        var bytes = elements.mutableBytes
        let received = try socket.receive(into: &bytes, until: .after(.seconds(10)))
        let answer = Array(buffer[..<received.byteCount])
        if let source = received.source { try socket.send(answer.span.bytes, to: source) }
    }

    /// socket, connect, write, read, close
    static func ask(_ endpoint: Endpoint) throws {
        let deadline = Deadline.after(.seconds(10))
        let question = "is anybody there?"
        if case .udp = endpoint {
            let socket = try DatagramSocket.connect(to: endpoint)
            // UDP may lose the question or the answer, and the server may not be there yet: ask again.
            while !deadline.hasPassed {
                if let answer = try tryAsking(question, socket) { return print("answer:", answer) }
                usleep(20_000)
            }
            return
        }
        let socket = try connect(endpoint, until: deadline)
        try socket.write(question.utf8.span.bytes)
        try socket.finishWriting()
        print("answer:", String(decoding: try socket.readToEnd(until: deadline), as: UTF8.self))
    }

    /// One question; nil if no answer came in time.
    static func tryAsking(_ question: String, _ socket: borrowing DatagramSocket) throws(IPCError) -> String? {
        var buffer = [UInt8](repeating: 0, count: 2048)
        let count: Int
        do throws(IPCError) {
            try socket.send(question.utf8.span.bytes)
            var elements = buffer.mutableSpan
            var bytes = elements.mutableBytes
            count = try socket.receiveBytes(into: &bytes, until: .after(.milliseconds(100)))
        } catch {
            if error.code == .timedOut || error.code == .connectionRefused { return nil }
            throw error
        }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// The server may not be there yet.
    static func connect(_ endpoint: Endpoint, until deadline: Deadline) throws(IPCError) -> StreamSocket {
        while true {
            do throws(IPCError) {
                return try StreamSocket.connect(to: endpoint, until: deadline)
            } catch  where [.connectionRefused, .notFound].contains(error.code) && !deadline.hasPassed {
                usleep(20_000)
            }
        }
    }
}
