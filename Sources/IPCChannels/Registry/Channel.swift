import Glibc
import IPC
import SystemPackage

/// A reference to a channel: its name, what it must be, and how to create it. Not a participant yet.
struct Channel: Sendable {
    let name: ChannelName
    let place: ChannelPlace
    private let pattern: ChannelPattern
    let type: MessageType
    /// What an existing one has to have.
    private let asked: ChannelOptions
    /// What to create it with if there is none; nil if it must exist.
    private let attributes: ChannelAttributes?
    /// Whether readers may know only the first fields of its messages.
    private let allowsPrefix: Bool
    private let hooks: (any LogHooks)?

    /// What to do about a channel that exists, or does not.
    enum Opening: Sendable {
        /// It must not exist.
        case create(ChannelOptions)
        /// It must exist.
        case open
        /// It is created if it does not exist, and must have these options if it does.
        case openOrCreate(ChannelOptions)

        /// Nil if it is only to be opened.
        var asked: ChannelOptions? {
            switch self {
            case .create(let options), .openOrCreate(let options): options
            case .open: nil
            }
        }
    }

    /// Creates or opens the channel. Checks that an existing one has the right pattern, type and options.
    ///
    /// - Parameter usual: What is usual for the pattern, and perhaps for the type.
    init(
        _ name: String, in root: ChannelRoot, _ pattern: ChannelPattern, _ type: MessageType, _ opening: Opening,
        usual: ChannelAttributes? = nil, hooks: (any LogHooks)? = nil, allowsPrefix: Bool = false
    ) throws(IPCError) {
        let name = try ChannelName(name)
        let attributes = try Self.attributes(name, pattern, opening, usual)
        self.init(
            name, in: .root(root), pattern, type, opening.asked ?? ChannelOptions(), attributes, hooks,
            allowsPrefix: allowsPrefix)
        switch opening {
        case .create: try create()
        case .open: try check(ChannelMemory(observing: name, in: place))
        case .openOrCreate:
            if try createIfMissing() { return }
            try meetingRemoval { () throws(IPCError) in try checkOrTakeAway(ChannelMemory(observing: name, in: place)) }
        }
    }

    /// An unnamed channel on the descriptors of its files. They must stay open while it is used.
    init(
        on descriptors: ChannelDescriptors, _ pattern: ChannelPattern, _ type: MessageType, hooks: (any LogHooks)? = nil
    ) throws(IPCError) {
        let place = ChannelPlace.descriptors(control: descriptors.control, log: descriptors.log)
        try self.init(ChannelName("unnamed"), in: place, pattern, type, ChannelOptions(), nil, hooks)
        try check(ChannelMemory(observing: name, in: place))
    }

    private init(
        _ name: ChannelName, in place: ChannelPlace, _ pattern: ChannelPattern, _ type: MessageType,
        _ asked: ChannelOptions, _ attributes: ChannelAttributes?, _ hooks: (any LogHooks)?, allowsPrefix: Bool = false
    ) {
        self.allowsPrefix = allowsPrefix
        precondition(pattern.carriesWork == (hooks != nil), "a channel has hooks exactly if it carries work")
        self.hooks = hooks
        self.asked = asked
        self.attributes = attributes
        self.name = name
        self.place = place
        self.pattern = pattern
        self.type = type
    }

    /// What to create the channel with; nil if it must exist.
    private static func attributes(
        _ name: ChannelName, _ pattern: ChannelPattern, _ opening: Opening, _ usual: ChannelAttributes?
    ) throws(IPCError) -> ChannelAttributes? {
        guard let asked = opening.asked else { return nil }
        try asked.check(name.description)
        let attributes = ChannelAttributes(asked, or: usual ?? .usual(for: pattern))
        try attributes.check(name, pattern)
        if attributes.writers == .exclusive, let writers = asked.maximumWriters, writers > 1 {
            throw IPCError(
                .invalidArgument, "create channel", name.description,
                advice:
                    "\(writers) writers were requested, but the channel has one at a time; request writers shared as well"
            )
        }
        return attributes
    }

    /// A channel of the type that it has. If there is none, creates a channel, unless it is only to be opened.
    ///
    /// - Parameters:
    ///   - opening: Not to create one that must not exist: that one is of a known type.
    ///   - usualType: The type of one that is created.
    static func ofAnyType(
        _ name: String, in root: ChannelRoot, _ pattern: ChannelPattern, _ opening: Opening,
        usual: ChannelAttributes? = nil, usualType: MessageType = .bytes, hooks: (any LogHooks)? = nil
    ) throws(IPCError) -> Channel {
        let name = try ChannelName(name)
        let attributes = try attributes(name, pattern, opening, usual)
        func channel(_ type: MessageType) -> Channel {
            Channel(
                name, in: .root(root), pattern, type, opening.asked ?? ChannelOptions(), attributes, hooks)
        }
        var left = attempts
        while true {
            do throws(IPCError) {
                let memory = try ChannelMemory(observing: name, in: .root(root))
                let channel = channel(try MessageType(memory.schema))
                try channel.checkOrTakeAway(memory)
                return channel
            } catch  where error.code == .notFound && attributes != nil && left > 0 {
                left -= 1
                do throws(IPCError) {
                    // Not looked at again, which could fail and would leave it behind.
                    if try channel(usualType).createIfMissing() { return channel(usualType) }
                } catch {
                    guard error.code == .permissionDenied else { throw error }
                    throw IPCError(
                        .notFound, "open channel", name.description,
                        advice:
                            "there is no such channel, and this user may not create it: \(error.resource): \(error.advice)"
                    )
                }
            }
        }
    }

    /// Opens a channel, and waits for one that does not exist yet.
    static func opening<Value>(
        _ name: String, in root: ChannelRoot, until deadline: Deadline, _ open: () throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try waitingForCreation(in: FilePath(root.path), until: deadline, "open channel", name) {
            () throws(IPCError) in try existing(name, in: root, open)
        }
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) static func opening<Value>(
        _ name: String, in root: ChannelRoot, until deadline: Deadline, _ open: () throws(IPCError) -> Value
    ) async throws(IPCError) -> Value {
        try await waitingForCreation(in: FilePath(root.path), until: deadline, "open channel", name) {
            () throws(IPCError) in try existing(name, in: root, open)
        }
    }

    /// - Returns: Nil if there is none, or one whose participants are all dead: whoever creates it takes that away.
    private static func existing<Value>(
        _ name: String, in root: ChannelRoot, _ open: () throws(IPCError) -> Value
    ) throws(IPCError) -> Value? {
        let value: Value
        do throws(IPCError) { value = try open() } catch {
            if error.code == .notFound { return nil }
            if error.code == .wrongType, try root.isAbandoned(ChannelName(name)) { return nil }
            throw error
        }
        return try root.isAbandoned(ChannelName(name)) ? nil : value
    }

    /// How often a channel may be removed between creating and joining it, before that is an error.
    private static let attempts = 1000

    private func create() throws(IPCError) {
        if try createIfMissing() { return }
        // One whose participants all died is as good as none.
        if case .root(let root) = place, root.removeIfAbandoned(name), try createIfMissing() { return }
        throw IPCError(
            .alreadyExists, "create \(pattern)", name.description,
            advice: "it already exists\(existing.map { ", as \($0)" } ?? ""); open it, or remove it first")
    }

    /// What the channel of this name is; nil if that cannot be told.
    private var existing: String? {
        guard let memory = try? ChannelMemory(observing: name, in: place), let pattern = try? memory.pattern,
            let type = try? memory.messageType
        else { return nil }
        return "\(pattern.withArticle) of \(type.name)"
    }

    /// - Returns: Whether it was created by this call.
    @discardableResult
    private func createIfMissing() throws(IPCError) -> Bool {
        guard let attributes, case .root(let root) = place else { return false }
        var left = Self.attempts
        while true {
            let isNew = try ChannelFiles.create(name, pattern: pattern, type: type, attributes, in: root)
            if isNew {
                root.removeAFewAbandoned(besides: name)
                return true
            }
            // A channel marked as removed no longer exists, even if its files still do.
            guard left > 0, try takeAwayIfRemoved() else { return false }
            left -= 1
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

    /// - Parameter isToWrite: Whether it is opened by one that writes, which has to know all fields.
    private func check(_ memory: ChannelMemory, isToWrite: Bool = false) throws(IPCError) {
        let found = try memory.pattern
        guard found == pattern else {
            throw IPCError(
                .wrongType, "open \(pattern)", name.description,
                advice: "expected \(pattern.withArticle), found \(found.withArticle); choose another name")
        }
        let carried = try memory.messageType
        guard carried == type else {
            let found = try? memory.schema
            if allowsPrefix, !isToWrite, let found, let wanted = type.schema,
                found.message.fields(after: wanted.message) != nil
            {
                return try asked.check(memory)
            }
            throw carried.mismatch(name.description, wanted: type, found: found)
        }
        try asked.check(memory)
    }

    /// The same for a channel that may be created. One that does not fit and whose participants all died is as good as none.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if it was taken away.
    private func checkOrTakeAway(_ memory: ChannelMemory) throws(IPCError) {
        do throws(IPCError) { try check(memory) } catch {
            guard attributes != nil, [.incompatibleOptions, .wrongType].contains(error.code),
                case .root(let root) = place, root.removeIfAbandoned(name)
            else { throw error }
            throw ChannelOpening.notFound(name)
        }
    }

    /// Joins the channel. Creates it again if its last participant removed it.
    func join(_ role: Membership.Role, logAccess: MemoryAccess? = nil) throws(IPCError) -> Membership {
        // If the channel exists, this does not take the root's lock: some users may join a channel that they may not create.
        try meetingRemoval { () throws(IPCError) in
            try Membership.join(as: role) { () throws(IPCError) in
                let memory = try ChannelMemory(
                    name, in: place, logAccess: logAccess ?? (role == .reader ? .readOnly : .readWrite), hooks: hooks)
                try check(memory, isToWrite: role == .writer)
                return memory
            }
        }
    }

    /// The names of the fields that its messages have beyond those of its type.
    func additionalFields() throws(IPCError) -> [String] {
        let memory = try observe()
        guard let type = type.schema, case .messages(let all) = try memory.schema else { return [] }
        return all.fields(after: type.message)?.map(\.name) ?? []
    }

    /// The size of its messages if readers may know only the first fields of them; otherwise 0.
    func wholeByteCount(_ memory: ChannelMemory) throws(IPCError) -> Int {
        allowsPrefix ? try memory.messageType.size : 0
    }

    /// Joins the channel as a reader. If this user may not write to it but it accepts guests, joins as a guest.
    func joinAsReader() throws(IPCError) -> Membership {
        do throws(IPCError) { return try join(.reader) } catch {
            guard error.code == .permissionDenied,
                let memory = try ChannelMemory.opened(forGuest: name, in: place)
            else { throw error }
            try check(memory)
            return try Membership.joinAsGuest(memory)
        }
    }

    /// Opens an existing channel read-only, without joining.
    func observe() throws(IPCError) -> ChannelMemory {
        let memory = try ChannelMemory(observing: name, in: place)
        try check(memory)
        return memory
    }

    /// Repeats `body` if the channel's last participant removes it meanwhile and it may be created again.
    private func meetingRemoval<Value>(_ body: () throws(IPCError) -> Value) throws(IPCError) -> Value {
        var left = Self.attempts
        while true {
            do throws(IPCError) { return try body() } catch
                where error.code == .notFound && attributes != nil && left > 0
            {
                left -= 1
                try createIfMissing()
            }
        }
    }

    /// What it was created with.
    func creatorsAttributes() throws(IPCError) -> ChannelAttributes {
        try ChannelMemory(observing: name, in: place).attributes
    }

    /// Removes a channel, even while it is in use. Its participants get an error at their next wait; new ones get a new
    /// channel.
    static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        let name = try ChannelName(name)
        var left = attemptsToRemove
        while true {
            left -= 1
            do throws(IPCError) {
                let memory = try ChannelMemory(name, in: .root(root), logAccess: .readOnly)
                try memory.checkRemovable()
                try memory.markRemoved()
                return try memory.takeAway()
            } catch {
                // A channel with invalid or unreadable files is removed as well; the permissions of its folder decide whether this
                // user may.
                guard [.corrupted, .wrongType, .notFound, .permissionDenied].contains(error.code) else { throw error }
                if try removeUnusable(name, in: root, mayBeNew: left > 0) { return }
            }
        }
    }

    private static var attemptsToRemove: Int { 10 }

    /// Removes the files of a channel that cannot be opened.
    ///
    /// - Parameter mayBeNew: Whether to leave a valid one, which another process has created in its place meanwhile: its
    ///   participants would not be told.
    /// - Returns: False if it was left.
    private static func removeUnusable(
        _ name: ChannelName, in root: ChannelRoot, mayBeNew: Bool
    ) throws(IPCError) -> Bool {
        try root.withLock { (folder) throws(IPCError) in
            guard try folder.status(of: name.folder) != nil else {
                throw IPCError(.notFound, "remove channel", name.description, advice: "there is no such channel")
            }
            if mayBeNew, (try? ChannelMemory(name, in: .root(root), logAccess: .readOnly)) != nil { return false }
            try folder.remove(name)
            return true
        }
    }
}

extension ChannelMemory {
    /// Removes the files of a channel that is marked as removed, and no other that was created in its place meanwhile. Wakes whoever
    /// waits in it, guests too.
    func takeAway() throws(IPCError) {
        try Membership.remove(self)
        lookAtGuests()
        wakeEverybody()
        // A writer compares these counts after each message. They stay different in a channel that is marked as removed, so that each
        // writer that does not have to wait finds out after its next message.
        waitingReaders.sleeps.add(1)
    }

    /// Marks the channel as removed. A process that has opened it and not joined yet opens it again; a participant that is
    /// about to wait detects the removal. A process that was stopped while it held the membership lock does not prevent this:
    /// the lock is awaited for 100 ms at most. A process that joins without it detects the removal at its next wait.
    fileprivate func markRemoved() throws(IPCError) {
        let patience = Deadline.after(.milliseconds(100))
        while try !tryLockMembership() {
            if patience.hasPassed {
                isRemoved = true
                return
            }
            usleep(200)
        }
        isRemoved = true
        unlockMembership()
    }
}
