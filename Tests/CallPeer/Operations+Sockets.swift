import Glibc
import IPC
import SystemPackage
import TestSupport

// Sockets of each kind and family: made, bound, connected, adopted, and what passes through them.

let socketOperations: [Operation] =
    streamSocketOperations + [
        Operation("PacketSocket.makePair()", "PacketSocket.close()", "PacketSocket.setSendBufferSize(_:)") {
            Attempt {
                let pair = try PacketSocket.makePair()
                try pair.first.setSendBufferSize(8192)
                try pair.closingSecond().close()
            }
        },
        Operation("PacketSocket.init(adopting:)", "PacketSocket.peerProcess()") {
            let pair = Box(try PacketSocket.makePair())
            return Attempt {
                let socket = try PacketSocket(adopting: duplicate(pair.value.first.descriptor))
                _ = try socket.peerProcess()
            }
        },
        Operation(
            "PacketListener.init(_:backlog:permissions:until:)", "PacketListener.init(adopting:)",
            "PacketSocket.connect(to:until:)", "PacketListener.accept(until:)"
        ) {
            let path = scratchPath()
            return Attempt {
                let listener = try PacketListener(.unix(path))
                let second = try PacketListener(adopting: duplicate(listener.descriptor))
                let client = try PacketSocket.connect(to: .unix(path), until: .after(.seconds(10)))
                _ = try second.accept(until: .after(.seconds(10)))
                try client.close()
            }
        },
        Operation("DatagramSocket.makePair()", "DatagramSocket.duplicate()", "DatagramSocket.init(adopting:)") {
            Attempt {
                let pair = try DatagramSocket.makePair()
                _ = try DatagramSocket(adopting: pair.first.duplicate())
            }
        },
        Operation(
            "DatagramSocket.init(_:permissions:until:)", "DatagramSocket.setReceiveBufferSize(_:)",
            "DatagramSocket.setSendBufferSize(_:)"
        ) {
            let path = scratchPath()
            return Attempt {
                let socket = try DatagramSocket(.unix(path))
                try socket.setReceiveBufferSize(8192)
                try socket.setSendBufferSize(8192)
                let other = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
                withExtendedLifetime(other) {}
            }
        },
        Operation("DatagramSocket.connect(to:until:)", "DatagramSocket.send(_:to:until:)") {
            let server = Box(try DatagramSocket(.udp(host: "127.0.0.1", port: 0)))
            let address = try server.value.localEndpoint!
            return Attempt {
                _ = try DatagramSocket.connect(to: address, until: .after(.seconds(10)))
                let other = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
                try other.send(three().span.bytes, to: address, until: .after(.seconds(10)))
            }
        },
        Operation("Endpoint.init(_:)") { Attempt { _ = try Endpoint("tcp://localhost:80") } },
    ]

private let streamSocketOperations: [Operation] = [
    Operation("StreamSocket.makePair()", "StreamSocket.close()", "StreamSocket.finishWriting()") {
        Attempt {
            let pair = try StreamSocket.makePair()
            try pair.first.finishWriting()
            try pair.closingSecond().close()
        }
    },
    Operation("StreamSocket.init(adopting:)", "StreamSocket.peerProcess()") {
        let pair = Box(try StreamSocket.makePair())
        return Attempt {
            let socket = try StreamSocket(adopting: duplicate(pair.value.first.descriptor))
            _ = try socket.peerProcess()
        }
    },
    Operation(
        "StreamListener.init(_:backlog:permissions:until:)", "StreamListener.init(adopting:)",
        "StreamSocket.connect(to:until:)", "StreamListener.accept(until:)", "StreamSocket.setNoDelay(_:)",
        "StreamSocket.setSendBufferSize(_:)", "StreamSocket.setReceiveBufferSize(_:)"
    ) {
        let path = scratchPath()
        return Attempt {
            let listener = try StreamListener(.unix(path))
            let second = try StreamListener(adopting: duplicate(listener.descriptor))
            let client = try StreamSocket.connect(to: .unix(path), until: .after(.seconds(10)))
            let accepted = try second.accept(until: .after(.seconds(10)))
            try accepted.setSendBufferSize(8192)
            try accepted.setReceiveBufferSize(8192)
            try client.close()
        }
    },
    Operation("StreamSocket.connect(to:until:)", "StreamSocket.setNoDelay(_:)") {
        let listener = Box(try StreamListener(.tcp(host: "127.0.0.1", port: 0)))
        let address = try listener.value.localEndpoint!
        return Attempt(undo: { while try listener.value.tryAccept() != nil {} }) {
            let socket = try StreamSocket.connect(to: address, until: .after(.seconds(10)))
            try socket.setNoDelay(true)
        }
    },
    Operation("StreamSocket.connect(to:until:) async") {
        let listener = Box(try StreamListener(.tcp(host: "127.0.0.1", port: 0)))
        let address = try listener.value.localEndpoint!
        return Attempt(
            undo: { while try listener.value.tryAccept() != nil {} },
            suspending: {
                _ = try await StreamSocket.connect(to: address, until: .after(.seconds(10)))
            })
    },
    // By a host's name, whose addresses are tried one after the other.
    Operation("StreamSocket.connect(to:until:)") {
        let listener = Box(try StreamListener(.tcp(host: "127.0.0.1", port: 0)))
        guard case .tcp(_, let port)? = try listener.value.localEndpoint else { throw Mistake.unexpected("an address") }
        return Attempt(undo: { while try listener.value.tryAccept() != nil {} }) {
            _ = try StreamSocket.connect(to: .tcp(host: "localhost", port: port), until: .after(.seconds(10)))
        }
    },
    Operation("StreamSocket.lines(limit:)", "StreamSocket.frames(limit:)") {
        let pair = Box(try StreamSocket.makePair())
        try pair.value.second.write(line().span.bytes)
        return Attempt(
            again: {},
            suspending: {
                var lines = try pair.value.first.lines(limit: 100).makeAsyncIterator()
                try require(try await lines.next() == "x", "a line")
                _ = try pair.value.first.frames(limit: 100)
            })
    },
    Operation("StreamListener.serve(concurrency:onFailure:_:) async") {
        let address = newAddress()
        let listener = Box(try StreamListener(address))
        let client = Giveable(try StreamSocket.connect(to: address))
        return Attempt(
            again: {}, end: { client.give() },
            suspending: {
                try await untilHandled { handled in
                    try await listener.value.serve(onFailure: { (_: any Error) in }) { _ in handled() }
                }
            })
    },
    Operation("PacketListener.serve(concurrency:onFailure:_:) async") {
        let address = newAddress()
        let listener = Box(try PacketListener(address))
        let client = Giveable(try PacketSocket.connect(to: address))
        return Attempt(
            again: {}, end: { client.give() },
            suspending: {
                try await untilHandled { handled in
                    try await listener.value.serve(onFailure: { (_: any Error) in }) { _ in handled() }
                }
            })
    },
    Operation(
        "StreamListener.connections()", "StreamListener.Connections.Iterator.next() async",
        "StreamListener.Connections.Iterator.next(isolation:) async"
    ) {
        let address = newAddress()
        let listener = Box(try StreamListener(address))
        let client = Giveable(try StreamSocket.connect(to: address))
        return Attempt(
            again: {}, end: { client.give() },
            suspending: {
                var connections = try listener.value.connections().makeAsyncIterator()
                try require(try await connections.next() != nil, "a connection")
            })
    },
]

/// Runs a server, in a task of this one, until it has handled a connection or has failed.
private func untilHandled(_ serve: @escaping @Sendable (@escaping @Sendable () -> Void) async throws -> Void)
    async throws
{
    let (ends, end) = AsyncStream.makeStream(of: Void.self)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            defer { end.finish() }
            try await serve { end.finish() }
        }
        for await _ in ends {}
        group.cancelAll()
        try await group.waitForAll()
    }
}
