import CIPCShims
import Glibc
import SystemPackage

/// A connection to whichever of several addresses answers first: those of a host name.
///
/// Each next one is started when all before it have failed, or have not answered for a quarter of a second (RFC 8305, “Happy
/// Eyeballs”), or for their share of the time until the deadline if that is less. So one that is dead does not use up the time of
/// those after it. The first that is connected wins, and the others are closed.
struct ConnectionRace: ~Copyable {
    private let addresses: [RawSocketAddress]
    private let name: String
    private let deadline: Deadline
    /// Readable when one that is under way has an outcome.
    private let outcomes: DescriptorSet
    private var next = 0
    private var underWay: [CInt] = []
    private var nextStart = Deadline.immediate
    private var failure: IPCError?

    private static let patience = Duration.milliseconds(250)

    init(_ addresses: [RawSocketAddress], _ name: String, until deadline: Deadline) throws(IPCError) {
        self.addresses = addresses
        self.name = name
        self.deadline = deadline
        outcomes = try DescriptorSet(name)
    }

    deinit { for descriptor in underWay { Glibc.close(descriptor) } }

    /// To be waited for before the next ``step()``, until ``pause``.
    var descriptor: CInt { outcomes.descriptor }
    /// When there is something to do though nothing has happened.
    var pause: Deadline { min(deadline, next < addresses.count ? nextStart : .never) }

    var isLate: IPCError {
        let count = addresses.count
        return IPCError(
            .timedOut, "connect", name,
            advice: "none of its \(count) addresses answered before the deadline; check them, or allow more time")
    }

    /// Takes what has happened, and starts what is due. Never waits.
    ///
    /// - Returns: The connection; nil if there is none yet.
    /// - Throws: What the last address failed with, when all have.
    mutating func step() throws(IPCError) -> SocketHandle? {
        if let connected = try takeOutcomes() { return connected }
        while next < addresses.count, underWay.isEmpty || nextStart.hasPassed {
            let address = addresses[next]
            next += 1
            do throws(IPCError) {
                if let connected = try start(address) { return connected }
                nextStart = min(.after(Self.patience), share)
            } catch {
                failure = error
            }
        }
        if underWay.isEmpty { throw failure ?? isLate }
        return nil
    }

    /// What the one that was just started has of the time that is left, if all get the same.
    private var share: Deadline {
        guard let remaining = deadline.remaining else { return .never }
        return .after(remaining / (addresses.count - next + 1))
    }

    /// - Returns: The socket if it is connected at once.
    private mutating func start(_ address: RawSocketAddress) throws(IPCError) -> SocketHandle? {
        let handle = try SocketHandle.make(address.family, .stream, name)
        guard try !handle.startConnecting(to: address) else { return handle }
        let raw = handle.rawValue
        try outcomes.add(raw, for: .writable)
        underWay.append(handle.owned.release().rawValue)
        return nil
    }

    private mutating func takeOutcomes() throws(IPCError) -> SocketHandle? {
        for descriptor in outcomes.ready() {
            underWay.removeAll { $0 == descriptor }
            // Closed, and so no longer watched, if it has failed.
            let handle = SocketHandle(adopting: OwnedDescriptor(adopting: descriptor), name: name)
            do throws(IPCError) {
                try handle.finishConnecting()
                outcomes.remove(handle.rawValue)
                return handle
            } catch {
                failure = error
                nextStart = .immediate
            }
        }
        return nil
    }
}

extension SocketHandle {
    /// A stream socket that is connected to one of these addresses.
    static func connected(
        to addresses: [RawSocketAddress], _ name: String, until deadline: Deadline
    ) throws(IPCError) -> SocketHandle {
        guard addresses.count > 1 else {
            let handle = try SocketHandle.make(addresses[0].family, .stream, name)
            try handle.connect(to: addresses[0], until: deadline)
            return handle
        }
        var race = try ConnectionRace(addresses, name, until: deadline)
        while true {
            if let handle = try race.step() { return handle }
            guard try Readiness.readable.wait(for: race.descriptor, until: race.pause) || !deadline.hasPassed else {
                throw race.isLate
            }
        }
    }

    /// The same, suspended meanwhile.
    static nonisolated(nonsending) func connectedWithoutBlocking(
        to addresses: [RawSocketAddress], _ name: String, until deadline: Deadline
    ) async throws(IPCError) -> SocketHandle {
        guard addresses.count > 1 else {
            let handle = try SocketHandle.make(addresses[0].family, .stream, name)
            try await handle.connect(to: addresses[0], until: deadline)
            return handle
        }
        var race = try ConnectionRace(addresses, name, until: deadline)
        while true {
            if let handle = try race.step() { return handle }
            do throws(IPCError) {
                try await Reactor.wait(for: .readable, of: race.descriptor, until: race.pause, "connect", name)
            } catch {
                guard error.code == .timedOut else { throw error }
                if deadline.hasPassed { throw race.isLate }
            }
        }
    }
}
