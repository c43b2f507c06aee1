import Glibc
import IPC
import SystemPackage
import TestSupport

// Listeners that nobody connects to, servers that accept nobody, and queues of datagrams and packets that nobody empties.

let listenerWaits: [Wait] = [
    Wait("StreamListener.accept(until:)", "StreamListener.tryAccept()") {
        let address = newAddress()
        let listener = Box(try StreamListener(address))
        let client = Giveable<StreamSocket>()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try listener.value.accept(until: deadline)
                return true
            }, release: { client.value = try StreamSocket.connect(to: address) },
            tries: [("tryAccept", { try listener.value.tryAccept() != nil })])
    },
    Wait("StreamListener.accept(until:) async") {
        let address = newAddress()
        let listener = Box(try StreamListener(address))
        let client = Giveable<StreamSocket>()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await listener.value.accept(until: deadline)
                return true
            }, release: { client.value = try StreamSocket.connect(to: address) })
    },
    Wait("PacketListener.accept(until:)", "PacketListener.tryAccept()") {
        let address = newAddress()
        let listener = Box(try PacketListener(address))
        let client = Giveable<PacketSocket>()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try listener.value.accept(until: deadline)
                return true
            }, release: { client.value = try PacketSocket.connect(to: address) },
            tries: [("tryAccept", { try listener.value.tryAccept() != nil })])
    },
    Wait("PacketListener.accept(until:) async") {
        let address = newAddress()
        let listener = Box(try PacketListener(address))
        let client = Giveable<PacketSocket>()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await listener.value.accept(until: deadline)
                return true
            }, release: { client.value = try PacketSocket.connect(to: address) })
    },
    Wait("StreamSocket.connect(to:until:)") {
        let address = newAddress()
        let server = Box(try StreamListener(address, backlog: 1))
        let clients = Box<[SharedReference<StreamSocket>]>([])
        try fillBacklog { clients.value.append(SharedReference(try StreamSocket.connect(to: address, until: $0))) }
        return Wait.Case(
            call: .blocking { deadline in
                _ = try StreamSocket.connect(to: address, until: deadline)
                return true
            }, release: { _ = try server.value.accept() })
    },
    Wait("StreamSocket.connect(to:until:) async") {
        let address = newAddress()
        let server = Box(try StreamListener(address, backlog: 1))
        let clients = Box<[SharedReference<StreamSocket>]>([])
        try fillBacklog { clients.value.append(SharedReference(try StreamSocket.connect(to: address, until: $0))) }
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await StreamSocket.connect(to: address, until: deadline)
                return true
            }, release: { _ = try server.value.accept() })
    },
    Wait("PacketSocket.connect(to:until:)") {
        let address = newAddress()
        let server = Box(try PacketListener(address, backlog: 1))
        let clients = Box<[SharedReference<PacketSocket>]>([])
        try fillBacklog { clients.value.append(SharedReference(try PacketSocket.connect(to: address, until: $0))) }
        return Wait.Case(
            call: .blocking { deadline in
                _ = try PacketSocket.connect(to: address, until: deadline)
                return true
            }, release: { _ = try server.value.accept() })
    },
    Wait("StreamListener.init(_:backlog:permissions:until:)") {
        let path = scratchPath()
        let folder = try lockedFolder()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try StreamListener(.unix(path), until: deadline)
                return true
            }, release: { folder.give() })
    },
    Wait("PacketListener.init(_:backlog:permissions:until:)") {
        let path = scratchPath()
        let folder = try lockedFolder()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try PacketListener(.unix(path), until: deadline)
                return true
            }, release: { folder.give() })
    },
    Wait("DatagramSocket.init(_:permissions:until:)") {
        let path = scratchPath()
        let folder = try lockedFolder()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try DatagramSocket(.unix(path), until: deadline)
                return true
            }, release: { folder.give() })
    },
]

func newAddress() -> Endpoint { .unixAbstract(AbstractName(uniqueName())) }

private func fillBacklog(_ connect: (Deadline) throws -> Void) throws {
    try fill {
        do {
            try connect(.after(.milliseconds(1)))
            return true
        } catch let error as IPCError where error.code == .timedOut {
            return false
        }
    }
}

/// The lock that two servers exclude each other by.
private func lockedFolder() throws -> Giveable<OwnedDescriptor> {
    let folder = OwnedDescriptor(
        adopting: try FileDescriptor.open(FilePath(scratchFolder), .readOnly, options: [.directory, .closeOnExec]))
    try require(flock(folder.descriptor.rawValue, LOCK_EX) == 0)
    return Giveable(folder)
}

let datagramWaits: [Wait] = [
    Wait("DatagramSocket.send(_:until:)", "DatagramSocket.trySend(_:)") {
        let pair = Box(try DatagramSocket.makePair())
        try fill { try pair.value.first.trySend(three().span.bytes) }
        return Wait.Case(
            call: .blocking { deadline in
                try pair.value.first.send(three().span.bytes, until: deadline)
                return true
            }, release: { try empty(pair) }, tries: [("trySend", { try pair.value.first.trySend(three().span.bytes) })])
    },
    Wait("DatagramSocket.send(_:until:) async") {
        let pair = Box(try DatagramSocket.makePair())
        try fill { try pair.value.first.trySend(three().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await pair.value.first.send(three().span.bytes, until: deadline)
                return true
            }, release: { try empty(pair) })
    },
    Wait("DatagramSocket.send(_:to:until:)", "DatagramSocket.trySend(_:to:)") {
        let (from, to, address) = try fullReceiver()
        return Wait.Case(
            call: .blocking { deadline in
                try from.value.send(three().span.bytes, to: address, until: deadline)
                return true
            }, release: { try empty(to) },
            tries: [("trySend", { try from.value.trySend(three().span.bytes, to: address) })])
    },
    Wait("DatagramSocket.send(_:to:until:) async") {
        let (from, to, address) = try fullReceiver()
        return Wait.Case(
            call: .suspending { deadline in
                try await from.value.send(three().span.bytes, to: address, until: deadline)
                return true
            }, release: { try empty(to) })
    },
    Wait("DatagramSocket.receiveBytes(into:until:)", "DatagramSocket.tryReceiveBytes(into:)") {
        let pair = Box(try DatagramSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in
                try receiving { try pair.value.first.receiveBytes(into: &$0, until: deadline) == 3 }
            }, release: { try pair.value.second.send(three().span.bytes) },
            tries: [("tryReceiveBytes", { try receiving { try pair.value.first.tryReceiveBytes(into: &$0) != nil } })])
    },
    Wait("DatagramSocket.receiveBytes(into:until:) async") {
        let pair = Box(try DatagramSocket.makePair())
        return Wait.Case(
            call: .suspending { deadline in
                try await receiving { try await pair.value.first.receiveBytes(into: &$0, until: deadline) == 3 }
            }, release: { try pair.value.second.send(three().span.bytes) })
    },
    Wait("DatagramSocket.receive(into:until:)", "DatagramSocket.tryReceive(into:)") {
        let pair = Box(try DatagramSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in
                _ = try receiving { try pair.value.first.receive(into: &$0, until: deadline) }
                return true
            }, release: { try pair.value.second.send(three().span.bytes) },
            tries: [("tryReceive", { try receiving { try pair.value.first.tryReceive(into: &$0) != nil } })])
    },
    Wait("DatagramSocket.receive(into:until:) async") {
        let pair = Box(try DatagramSocket.makePair())
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await receiving { try await pair.value.first.receive(into: &$0, until: deadline) }
                return true
            }, release: { try pair.value.second.send(three().span.bytes) })
    },
    Wait("DatagramSocket.connect(to:until:)") {
        let address = newAddress()
        let server = Box(try DatagramSocket(address))
        return Wait.Case(
            call: .blocking { deadline in
                _ = try DatagramSocket.connect(to: address, until: deadline)
                let other = try DatagramSocket(newAddress())
                try other.connect(to: address, until: deadline)
                withExtendedLifetime(server) {}
                return true
            }, release: {}, mayBeReady: true)
    },
]

private func empty(_ pair: Box<DatagramSocketPair>) throws {
    try fill { try receiving { try pair.value.second.tryReceiveBytes(into: &$0) != nil } }
}

private func empty(_ socket: Box<DatagramSocket>) throws {
    try fill { try receiving { try socket.value.tryReceiveBytes(into: &$0) != nil } }
}

private func fullReceiver() throws -> (Box<DatagramSocket>, Box<DatagramSocket>, Endpoint) {
    let address = newAddress()
    let to = Box(try DatagramSocket(address))
    let from = Box(try DatagramSocket(newAddress()))
    try fill { try from.value.trySend(three().span.bytes, to: address) }
    return (from, to, address)
}

let packetWaits: [Wait] = [
    Wait("PacketSocket.send(_:descriptors:until:)", "PacketSocket.trySend(_:)") {
        let pair = Box(try PacketSocket.makePair())
        try fill { try pair.value.first.trySend(three().span.bytes) }
        return Wait.Case(
            call: .blocking { deadline in
                try pair.value.first.send(three().span.bytes, descriptors: [.standardError], until: deadline)
                return true
            }, release: { try empty(pair) }, tries: [("trySend", { try pair.value.first.trySend(three().span.bytes) })])
    },
    Wait("PacketSocket.send(_:until:) async") {
        let pair = Box(try PacketSocket.makePair())
        try fill { try pair.value.first.trySend(three().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await pair.value.first.send(three().span.bytes, until: deadline)
                return true
            }, release: { try empty(pair) })
    },
    Wait("PacketSocket.receive(into:until:)", "PacketSocket.tryReceive(into:)") {
        let pair = Box(try PacketSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in
                try receiving { try pair.value.first.receive(into: &$0, until: deadline) == 3 }
            },
            release: { try pair.value.second.send(three().span.bytes) },
            tries: [("tryReceive", { try receiving { try pair.value.first.tryReceive(into: &$0) != nil } })])
    },
    Wait("PacketSocket.receive(into:until:) async") {
        let pair = Box(try PacketSocket.makePair())
        return Wait.Case(
            call: .suspending { deadline in
                try await receiving { try await pair.value.first.receive(into: &$0, until: deadline) == 3 }
            }, release: { try pair.value.second.send(three().span.bytes) })
    },
    Wait("PacketSocket.receive(into:descriptors:maximumDescriptors:until:)") {
        let pair = Box(try PacketSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in
                var received = ReceivedDescriptors()
                return try receiving {
                    try pair.value.first.receive(into: &$0, descriptors: &received, until: deadline) == 3
                }
            }, release: { try pair.value.second.send(three().span.bytes, descriptors: [.standardError]) })
    },
]

private func empty(_ pair: Box<PacketSocketPair>) throws {
    try fill { try receiving { try pair.value.second.tryReceive(into: &$0) != nil } }
}
