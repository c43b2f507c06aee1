import CIPCShims
import Glibc
import IPC
import SystemPackage

/// Makes a channel's files, and opens those of one that exists.
enum ChannelFiles {
    /// The files of a channel of this type, made now if there is none.
    ///
    /// Two that create it at the same time both get the same channel.
    /// - Returns: Whether it was made now. Then it is what was asked for, and nothing has to be looked at that could fail.
    static func create(
        _ name: ChannelName, pattern: ChannelPattern, type: MessageType, _ options: ChannelOptions,
        in root: ChannelRoot,
        mayExist: Bool
    ) throws(IPCError) -> Bool {
        for (what, number) in [("readers", options.maximumReaders), ("writers", options.maximumWriters)] {
            guard (1...LogLayout.maximumSlots).contains(number) else {
                throw IPCError(
                    .invalidArgument, "create channel", name.description,
                    advice: "\(number) \(what) are asked for; a channel has 1 to \(LogLayout.maximumSlots)")
            }
        }
        guard options.capacity > 0, options.capacity <= 1 << 40 else {
            throw IPCError(
                .invalidArgument, "create channel", name.description,
                advice: "a log of \(options.capacity) bytes is asked for; it has 64 KiB to 1 TiB")
        }
        guard options.subscriberPermissions.isEmpty || pattern == .topic || pattern == .latest else {
            throw IPCError(
                .invalidArgument, "create channel", name.description,
                advice: "subscriberPermissions are of topics and latest values; a \(pattern) has participants only")
        }
        let capacity = roundedCapacity(options.capacity)
        let isNew = try root.withLock { (root) throws(IPCError) in
            let guests = readsAndWrites(options.subscriberPermissions)
            let readable = options.permissions.union(guests.intersection([.ownerRead, .groupRead, .otherRead]))
            let isNew = try root.publish(name, permissions: readable) { (folder, path) throws(IPCError) in
                let slots = LogLayout.controlByteCount(
                    pattern, capacity: capacity, readerSlots: options.maximumReaders,
                    writerSlots: options.maximumWriters)
                let control = try root.makeFile("control", in: folder, path, readable, byteCount: slots)
                let log = try root.makeFile("log", in: folder, path, readable, byteCount: capacity)
                let locks = try root.makeFile(
                    "locks", in: folder, path, lockPermissions(options.permissions), byteCount: 0)
                if !guests.isEmpty {
                    try root.makeFIFO(
                        "subscribers", in: folder, path, lockPermissions(options.permissions).union(guests))
                }
                try initialize(control.map(), pattern, type, options, capacity)
                if options.durability != .none {
                    for file in [control.descriptor.rawValue, log.descriptor.rawValue] { try sync(file, path) }
                }
                _ = consume log
                _ = consume locks
            }
            if isNew, options.durability != .none {
                do throws(IPCError) { try root.sync(name) } catch {
                    // The error that matters is the one that was there first.
                    try? root.remove(name)
                    throw error
                }
            }
            return isNew
        }
        guard isNew || mayExist else {
            throw IPCError(
                .alreadyExists, "create channel", name.description,
                advice: "it exists already; open it, or remove it first")
        }
        return isNew
    }

    /// Those of the file that is locked: only for whoever may write to the channel. A lock for reading, which takes permission to read
    /// only, would keep all others out.
    static func lockPermissions(_ permissions: FilePermissions) -> FilePermissions {
        let writes = permissions.rawValue & 0o222
        return FilePermissions(rawValue: writes | writes << 1)
    }

    /// Both, for each class that these say anything of.
    static func readsAndWrites(_ permissions: FilePermissions) -> FilePermissions {
        let reads = permissions.rawValue & 0o444 | (permissions.rawValue & 0o222) << 1
        return FilePermissions(rawValue: reads | reads >> 1)
    }

    private static func sync(_ descriptor: CInt, _ name: String) throws(IPCError) {
        _ = try retryingInterrupts { fsync(descriptor) }.orThrow("fsync", name)
    }

    /// A power of two, so that a mask finds a position's place.
    fileprivate static func roundedCapacity(_ wanted: Int) -> Int {
        var capacity = 65_536
        while capacity < wanted { capacity *= 2 }
        return capacity
    }

    fileprivate static func initialize(
        _ control: MemoryMapping, _ pattern: ChannelPattern, _ type: MessageType, _ options: ChannelOptions,
        _ capacity: Int
    ) {
        typealias Fixed = LogLayout.Fixed
        control.store(LogLayout.magic, at: Fixed.magic)
        control.store(LogLayout.version, at: Fixed.version)
        control.store(pattern.rawValue, at: Fixed.pattern)
        // The highest bit keeps a stamp from being zero, as fresh memory is.
        control.store(UInt64.random(in: 0 ... .max) | 1 << 63, at: Fixed.key)
        control.store(UInt64(capacity), at: Fixed.capacity)
        control.store(UInt32(options.maximumReaders), at: Fixed.readerSlots)
        control.store(UInt32(options.maximumWriters), at: Fixed.writerSlots)
        var flags: UInt32 = 0
        if options.writers == .shared { flags |= LogLayout.Flag.sharedWriters }
        if options.overflow == .overwrite { flags |= LogLayout.Flag.overwrites }
        if options.lifetime == .kept || options.durability != .none { flags |= LogLayout.Flag.isKept }
        if options.durability != .none { flags |= LogLayout.Flag.isDurable }
        if case .syncedEvery(let bytes) = options.durability {
            control.store(UInt64(clamping: max(bytes, 1)), at: Fixed.syncBytes)
        } else {
            control.store(UInt64.max, at: Fixed.syncBytes)
        }
        control.store(flags, at: Fixed.flags)
        let guests = readsAndWrites(options.subscriberPermissions)
        control.store(UInt32(guests.isEmpty ? 0 : options.maximumReaders), at: Fixed.guestSlots)
        control.store(UInt32(guests.rawValue), at: Fixed.guestPermissions)
        if pattern == .workQueue { options.retries.store(control) }
        if pattern == .service {
            control.store(UInt32(clamping: options.maximumWaiting ?? 0), at: Fixed.maximumWaiting)
        }
        control.store(UInt32(type.size), at: Fixed.typeSize)
        control.store(UInt32(type.stride), at: Fixed.typeStride)
        control.store(UInt32(type.alignment), at: Fixed.typeAlignment)
        control.store(type.fingerprint, at: Fixed.typeFingerprint)
        control.store(UInt32(type.name.utf8.count), at: Fixed.typeNameLength)
        for (index, byte) in type.name.utf8.enumerated() { control.store(byte, at: Fixed.typeName + index) }
        for slot in 0..<options.maximumReaders {
            control.store(UInt64.max, at: LogLayout.readerSlot(slot) + LogLayout.ReaderSlot.cursor)
        }
        for slot in 0..<options.maximumWriters {
            let offset = LogLayout.writerSlot(slot, readerSlots: options.maximumReaders)
            control.store(LogLayout.unclaimed, at: offset + LogLayout.WriterSlot.intentPosition)
        }
    }
}

/// The descriptors of a channel's files, for passing a channel that has no name any more to another process.
package struct ChannelDescriptors {
    package let control: CInt
    package let log: CInt

    package init(control: CInt, log: CInt) {
        self.control = control
        self.log = log
    }

    /// Makes a channel of bytes that has no name. The caller closes the descriptors.
    package static func makeUnnamed(_ pattern: ChannelPattern, _ options: ChannelOptions) throws(IPCError)
        -> ChannelDescriptors
    {
        var options = options
        options.lifetime = .kept
        // They would need a file of their own.
        options.subscriberPermissions = []
        let capacity = ChannelFiles.roundedCapacity(options.capacity)
        let control = try AnonymousMemory(
            byteCount: LogLayout.controlByteCount(
                pattern, capacity: capacity, readerSlots: options.maximumReaders,
                writerSlots: options.maximumWriters))
        let log = try AnonymousMemory(byteCount: capacity)
        ChannelFiles.initialize(try control.map(), pattern, .bytes, options, capacity)
        return ChannelDescriptors(control: control.release().rawValue, log: log.release().rawValue)
    }
}
