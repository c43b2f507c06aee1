import CIPCShims
import Glibc
import IPC
import SystemPackage

/// Creates a channel's files.
enum ChannelFiles {
    /// Creates the files of a channel of this type if there are none.
    ///
    /// Two processes that create it at the same time get the same channel.
    ///
    /// - Parameter options: Checked before.
    /// - Returns: Whether it was created by this call. If so, it is as requested, and needs no further check, which could fail.
    static func create(
        _ name: ChannelName, pattern: ChannelPattern, type: MessageType, _ options: ChannelAttributes,
        in root: ChannelRoot
    ) throws(IPCError) -> Bool {
        let capacity = options.capacity
        guard let schema = type.schema.map({ Array($0.json.utf8) }), schema.count <= maximumSchemaSize else {
            throw IPCError(
                .wrongType, "create channel", name.description,
                advice: "the description of its type \(type.name) has more than \(maximumSchemaSize) bytes; send bytes")
        }
        return try root.withLock { (root) throws(IPCError) in
            let guests = options.subscriberPermissions.readingAndWriting
            let readable = options.permissions.union(guests.intersection([.ownerRead, .groupRead, .otherRead]))
            let isNew = try root.publish(name, permissions: readable) { (folder, path) throws(IPCError) in
                // Only now, since it takes time: what cannot be read would be in the way of every other program.
                do throws(IPCError) { _ = try ChannelSchema(json: String(decoding: schema, as: UTF8.self)) } catch {
                    throw IPCError(
                        .wrongType, "create channel", name.description,
                        advice: "the description of its type \(type.name) cannot be used: \(error.advice)")
                }
                let slots = LogLayout.controlByteCount(
                    carriesWork: pattern.carriesWork, capacity: capacity, readerSlots: options.maximumReaders,
                    writerSlots: options.maximumWriters)
                let control = try root.makeFile("control", in: folder, path, readable, byteCount: slots)
                let log = try root.makeFile("log", in: folder, path, readable, byteCount: capacity)
                let locks = try root.makeFile(
                    "locks", in: folder, path, options.permissions.ofLockFile, byteCount: 0)
                if !guests.isEmpty {
                    try root.makeFIFO(
                        "subscribers", in: folder, path, options.permissions.ofLockFile.union(guests))
                }
                try initialize(control.map(), pattern, type, options)
                if options.durability != .none {
                    for file in [control.descriptor.rawValue, log.descriptor.rawValue] { try sync(file, path) }
                }
                let description = try root.makeFile("schema", in: folder, path, readable, byteCount: schema.count)
                try unsafe schema.span.withUnsafeBytes { (bytes) throws(IPCError) in
                    try unsafe write(bytes, to: description.descriptor.rawValue, path)
                }
                if options.durability != .none { try sync(description.descriptor.rawValue, path) }
                _ = consume log
                _ = consume locks
                _ = consume description
            }
            if isNew, options.durability != .none {
                do throws(IPCError) { try root.sync(name) } catch {
                    // The first error matters, not one of the removal.
                    try? root.remove(name)
                    throw error
                }
            }
            return isNew
        }
    }

    /// The maximum size of the file `schema` in bytes.
    static var maximumSchemaSize: Int { 1 << 20 }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, to file: CInt, _ path: String
    ) throws(IPCError) {
        var done = 0
        while done < bytes.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
            done += Int(
                try retryingInterrupts { unsafe Glibc.write(file, rest.baseAddress, rest.count) }
                    .orThrow("write", path + "/schema"))
        }
    }

    private static func sync(_ descriptor: CInt, _ name: String) throws(IPCError) {
        _ = try retryingInterrupts { fsync(descriptor) }.orThrow("fsync", name)
    }

    fileprivate static func initialize(
        _ control: MemoryMapping, _ pattern: ChannelPattern, _ type: MessageType, _ options: ChannelAttributes
    ) {
        typealias Fixed = LogLayout.Fixed
        control.store(LogLayout.magic, at: Fixed.magic)
        control.store(LogLayout.version, at: Fixed.version)
        control.store(pattern.rawValue, at: Fixed.pattern)
        // The highest bit keeps a stamp from being zero, as fresh memory is.
        control.store(UInt64.random(in: 0 ... .max) | 1 << 63, at: Fixed.key)
        control.store(UInt64(options.capacity), at: Fixed.capacity)
        control.store(UInt32(options.maximumReaders), at: Fixed.readerSlots)
        control.store(UInt32(options.maximumWriters), at: Fixed.writerSlots)
        var flags = pattern.logFlags
        if options.writers == .shared { flags |= LogLayout.Flag.sharedWriters }
        if options.overflow == .overwrite { flags |= LogLayout.Flag.overwrites }
        if options.lifetime == .kept { flags |= LogLayout.Flag.isKept }
        if options.durability != .none { flags |= LogLayout.Flag.isDurable }
        if case .syncedEvery(let bytes) = options.durability {
            control.store(UInt64(clamping: max(bytes, 1)), at: Fixed.syncBytes)
        } else {
            control.store(UInt64.max, at: Fixed.syncBytes)
        }
        control.store(flags, at: Fixed.flags)
        let guests = options.subscriberPermissions.readingAndWriting
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
        // For people; what counts is the fingerprint.
        let name = type.name.prefix(utf8: Fixed.typeNameCapacity)
        control.store(UInt32(name.utf8.count), at: Fixed.typeNameLength)
        for (index, byte) in name.utf8.enumerated() { control.store(byte, at: Fixed.typeName + index) }
        for slot in 0..<options.maximumReaders {
            control.store(UInt64.max, at: LogLayout.readerSlot(slot) + LogLayout.ReaderSlot.cursor)
        }
        for slot in 0..<options.maximumWriters {
            let offset = LogLayout.writerSlot(slot, readerSlots: options.maximumReaders)
            control.store(LogLayout.unclaimed, at: offset + LogLayout.WriterSlot.intentPosition)
        }
    }
}

/// The descriptors of a channel's files, for passing an unnamed channel to another process.
package struct ChannelDescriptors {
    package let control: CInt
    package let log: CInt

    package init(control: CInt, log: CInt) {
        self.control = control
        self.log = log
    }

    /// Creates an unnamed channel of bytes. The caller closes the descriptors.
    package static func makeUnnamed(_ pattern: ChannelPattern, _ options: ChannelOptions) throws(IPCError)
        -> ChannelDescriptors
    {
        var options = ChannelAttributes(options, or: .usual(for: pattern))
        options.lifetime = .kept
        // Guests would need a file of their own.
        options.subscriberPermissions = []
        let control = try AnonymousMemory(
            byteCount: LogLayout.controlByteCount(
                carriesWork: pattern.carriesWork, capacity: options.capacity, readerSlots: options.maximumReaders,
                writerSlots: options.maximumWriters))
        let log = try AnonymousMemory(byteCount: options.capacity)
        ChannelFiles.initialize(try control.map(), pattern, .bytes, options)
        return ChannelDescriptors(control: control.release().rawValue, log: log.release().rawValue)
    }
}

extension String {
    /// Its beginning, of so many bytes at most.
    fileprivate func prefix(utf8 limit: Int) -> Substring {
        var end = utf8.index(startIndex, offsetBy: limit, limitedBy: endIndex) ?? endIndex
        while end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return self[..<end]
    }
}
