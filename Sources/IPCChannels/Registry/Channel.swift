import Glibc
import IPC

/// A channel as its users hold it: a name, what it has to be, and how to make it. Not a participant yet.
struct Channel: Sendable {
    let name: ChannelName
    let place: ChannelPlace
    private let pattern: ChannelPattern
    let type: MessageType
    /// What to create it with; nil if it has to exist.
    private let options: ChannelOptions?
    /// Whether it may be of another type by the time that somebody joins.
    private let takesAnyType: Bool
    private let wish: PolicyWish

    /// Creates it if there are options, by the policy, and checks that it is what it has to be.
    init(
        _ name: String, in root: ChannelRoot = .current, _ pattern: ChannelPattern, _ type: MessageType,
        _ options: ChannelOptions?, _ policy: CreationPolicy, _ wish: PolicyWish = PolicyWish()
    ) throws(IPCError) {
        try self.init(ChannelName(name), in: .root(root), pattern, type, options, wish)
        if try create(mayExist: policy == .openExisting) { return }
        try meetingRemoval { () throws(IPCError) in
            try check(ChannelMemory(observing: self.name, in: place))
        }
    }

    /// One without a name, on the descriptors of its files; they have to stay open while it is used.
    init(on descriptors: ChannelDescriptors, _ pattern: ChannelPattern, _ type: MessageType) throws(IPCError) {
        let place = ChannelPlace.descriptors(control: descriptors.control, log: descriptors.log)
        try self.init(ChannelName("unnamed"), in: place, pattern, type, nil)
        try check(ChannelMemory(observing: name, in: place))
    }

    private init(
        _ name: ChannelName, in place: ChannelPlace, _ pattern: ChannelPattern, _ type: MessageType,
        _ options: ChannelOptions?, _ wish: PolicyWish = PolicyWish(), takesAnyType: Bool = false
    ) {
        self.wish = wish
        self.takesAnyType = takesAnyType
        self.name = name
        self.place = place
        self.pattern = pattern
        self.type = type
        self.options = options
    }

    /// A channel of whatever type. If there is none, one of bytes is made where there are options.
    static func ofAnyType(
        _ name: String, in root: ChannelRoot, _ pattern: ChannelPattern, _ options: ChannelOptions?,
        _ wish: PolicyWish = PolicyWish()
    ) throws(IPCError) -> Channel {
        let name = try ChannelName(name)
        func channel(_ type: MessageType) -> Channel {
            Channel(name, in: .root(root), pattern, type, options, wish, takesAnyType: true)
        }
        var left = attempts
        while true {
            do throws(IPCError) {
                let memory = try ChannelMemory(observing: name, in: .root(root))
                try channel(memory.messageType).check(memory)
                return channel(memory.messageType)
            } catch  where error.code == .notFound && options != nil && left > 0 {
                left -= 1
                do throws(IPCError) { try channel(.bytes).create(mayExist: true) } catch {
                    guard error.code == .permissionDenied else { throw error }
                    throw IPCError(
                        .notFound, "open channel", name.description,
                        advice:
                            "there is no such channel, and this user may not make it: \(error.resource): \(error.advice)"
                    )
                }
            }
        }
    }

    /// How often a channel may be taken away between our making it and our joining it, before that is an error.
    private static let attempts = 1000

    /// - Returns: Whether it was made now.
    @discardableResult
    private func create(mayExist: Bool) throws(IPCError) -> Bool {
        guard let options, case .root(let root) = place else { return false }
        var left = Self.attempts
        while true {
            do throws(IPCError) {
                return try ChannelFiles.create(
                    name, pattern: pattern, type: type, options, in: root, mayExist: mayExist)
            } catch {
                // What its last participant has left, and not taken away yet, is not there any more.
                guard error.code == .alreadyExists, left > 0, try takeAwayIfRemoved() else { throw error }
                left -= 1
            }
        }
    }

    /// - Returns: False if there is a channel.
    private func takeAwayIfRemoved() throws(IPCError) -> Bool {
        let memory: ChannelMemory
        do throws(IPCError) { memory = try ChannelMemory(observing: name, in: place) } catch {
            return error.code == .notFound
        }
        guard memory.isRemoved else { return false }
        try Membership.remove(memory)
        return true
    }

    private func check(_ memory: ChannelMemory) throws(IPCError) {
        guard memory.pattern == pattern else {
            throw IPCError(
                .wrongType, "open \(pattern)", name.description,
                advice: "this channel is no \(pattern) but of the kind \(memory.pattern); choose another name")
        }
        guard takesAnyType || memory.messageType == type else {
            throw memory.messageType.mismatch(name.description, wanted: type)
        }
        try wish.check(memory)
    }

    /// Joins it, made anew if its last participant took it away.
    func join(_ role: Membership.Role, logAccess: MemoryAccess? = nil) throws(IPCError) -> Membership {
        // Without the root's lock where it is there: some may join who may not make it.
        try meetingRemoval { () throws(IPCError) in
            try Membership.join(name, as: role, in: place, logAccess: logAccess, check: check)
        }
    }

    /// Joins it as a reader; as a guest if this user may not write to it, and it takes guests.
    func joinAsReader() throws(IPCError) -> Membership {
        do throws(IPCError) { return try join(.reader) } catch {
            guard error.code == .permissionDenied,
                let guest = try Membership.joinAsGuest(name, in: place, check: check)
            else { throw error }
            return guest
        }
    }

    /// Opens it for reading only, without taking part. It has to be there.
    func observe() throws(IPCError) -> ChannelMemory {
        let memory = try ChannelMemory(observing: name, in: place)
        try check(memory)
        return memory
    }

    /// Runs `body` again if the channel's last participant took it away in the middle of it, and we may make it anew.
    private func meetingRemoval<Value>(_ body: () throws(IPCError) -> Value) throws(IPCError) -> Value {
        var left = Self.attempts
        while true {
            do throws(IPCError) { return try body() } catch  where error.code == .notFound && options != nil && left > 0
            {
                left -= 1
                try create(mayExist: true)
            }
        }
    }

    /// What its creator chose.
    func creatorsOptions() throws(IPCError) -> ChannelOptions {
        try ChannelMemory(observing: name, in: place).options
    }

    /// Removes a channel, whoever uses it: they are told at their next wait, and new ones get a new channel.
    static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        let name = try ChannelName(name)
        do throws(IPCError) {
            let memory = try ChannelMemory(name, in: .root(root), logAccess: .readOnly)
            try memory.checkRemovable()
            try memory.markRemoved()
            // That one, and none that was made in its place meanwhile.
            try Membership.remove(memory)
            memory.lookAtGuests()
            memory.wakeEverybody()
        } catch {
            // One whose files are no channel's is removed as well, or cannot be read: whether that may be is asked of its folder.
            guard [.corrupted, .wrongType, .notFound, .permissionDenied].contains(error.code) else { throw error }
            try root.withLock { (folder) throws(IPCError) in
                guard try folder.status(of: name.folder) != nil else {
                    throw IPCError(.notFound, "remove channel", name.description, advice: "there is no such channel")
                }
                try folder.remove(name)
            }
        }
    }
}

extension ChannelMemory {
    /// So that whoever has opened it, and not joined yet, opens it anew. A process that was stopped while it held the gate does not
    /// keep it from being removed.
    fileprivate func markRemoved() throws(IPCError) {
        let patience = Deadline.after(.milliseconds(100))
        while try !tryLockGate() {
            if patience.hasPassed { return }
            usleep(200)
        }
        isRemoved = true
        unlockGate()
    }
}
