// swift-format-ignore-file: AlwaysUseLowerCamelCase
// The names are those of C.
public import CIPCInterface
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// A channel as C has it, with texts that stay where they are.
final class OpenChannel: @unchecked Sendable {
    // `@unchecked`: immutable after initialization.
    let channel: AnyChannel
    let name: UnsafeMutablePointer<CChar>?
    let schema: UnsafeMutablePointer<CChar>?

    init(_ channel: AnyChannel) {
        self.channel = channel
        name = strdup(channel.name.description)
        schema = strdup(channel.schema.json)
    }

    deinit {
        free(name)
        free(schema)
    }
}

/// Finds the root of a channel.
func root(_ path: UnsafePointer<CChar>?, _ call: String, of channel: String? = nil) throws(IPCError) -> ChannelRoot {
    path == nil ? .current : ChannelRoot(FilePath(try text(path, "root", call, of: channel)))
}

/// A structure of options. That of an older program may be shorter; what it does not have is as in `usual`.
func given<Options: BitwiseCopyable>(
    _ pointer: UnsafePointer<Options>?, or usual: Options, _ call: String, of channel: String
) throws(IPCError) -> Options {
    guard let pointer else { return usual }
    let head = UnsafeRawPointer(pointer)
    // Each begins with its size.
    let size = min(head.load(as: Int.self), MemoryLayout<Options>.size)
    guard size >= MemoryLayout<Int>.size else {
        throw .argument("options", call, "its size is \(size); begin with IPC_…OPTIONS_INIT", of: channel)
    }
    var given = usual
    withUnsafeMutableBytes(of: &given) { target in
        target.copyBytes(from: UnsafeRawBufferPointer(start: head, count: size))
    }
    return given
}

/// Where a handle goes; NULL until there is one.
func output(
    _ out: UnsafeMutablePointer<OpaquePointer?>?, _ name: String, _ call: String
) throws(IPCError) -> UnsafeMutablePointer<OpaquePointer?> {
    guard let out else { throw .argument(name, call, "it is NULL; give the address of a variable") }
    out.pointee = nil
    return out
}

/// The options of a channel.
private struct GivenOptions {
    var options = ChannelOptions()
    let root: ChannelRoot
    let maximumAttempts: Int?
    let maximumWaiting: Int?

    init(_ pointer: UnsafePointer<ipc_options>?, _ call: String, of channel: String) throws(IPCError) {
        let given = try given(pointer, or: ipc_options(), call, of: channel)
        func choice<Value>(_ name: String, _ number: Int32, _ values: [Value]) throws(IPCError) -> Value? {
            guard number != 0 else { return nil }
            guard values.indices.contains(Int(number) - 1) else {
                throw .argument(name, call, "it is \(number); there are 0 to \(values.count)", of: channel)
            }
            return values[Int(number) - 1]
        }
        func count(_ number: UInt32) -> Int? { number == 0 ? nil : Int(number) }
        options.writers = try choice("writers", given.writers, [.exclusive, .shared])
        options.overflow = try choice("overflow", given.overflow, [.block, .overwrite])
        options.lifetime = try choice("lifetime", given.lifetime, [.whileUsed, .kept])
        options.durability = try choice(
            "durability", given.durability,
            [.none, .syncedWhenAsked, .syncedEvery(bytes: Int(clamping: given.sync_bytes))])
        if given.sync_bytes != 0, given.durability != Int32(IPC_SYNCED_EVERY) {
            throw .argument(
                "sync_bytes", call, "it has no effect without durability IPC_SYNCED_EVERY; leave it out", of: channel)
        }
        options.capacity = given.capacity == 0 ? nil : Int(clamping: given.capacity)
        options.maximumReaders = count(given.maximum_readers)
        options.maximumWriters = count(given.maximum_writers)
        for permissions in [given.permissions, given.subscriber_permissions] where permissions & ~0o666 != 0 {
            throw .argument(
                "permissions", call, "0\(String(permissions, radix: 8)) has other bits than those of 0666",
                of: channel)
        }
        options.permissions = given.permissions == 0 ? nil : FilePermissions(rawValue: given.permissions)
        options.subscriberPermissions =
            given.subscriber_permissions == 0 ? nil : FilePermissions(rawValue: given.subscriber_permissions)
        root = try IPCForC.root(given.root, call, of: channel)
        maximumAttempts = count(given.maximum_attempts)
        maximumWaiting = count(given.maximum_waiting)
    }

    /// The names of the options that were given, besides the root.
    var names: [String] {
        let all: [(name: String, isGiven: Bool)] = [
            ("writers", options.writers != nil), ("overflow", options.overflow != nil),
            ("lifetime", options.lifetime != nil), ("durability", options.durability != nil),
            ("capacity", options.capacity != nil), ("maximum_readers", options.maximumReaders != nil),
            ("maximum_writers", options.maximumWriters != nil), ("permissions", options.permissions != nil),
            ("subscriber_permissions", options.subscriberPermissions != nil),
            ("maximum_attempts", maximumAttempts != nil), ("maximum_waiting", maximumWaiting != nil),
        ]
        return all.filter(\.isGiven).map(\.name)
    }
}

/// The schema of a channel, or that of its messages alone.
private func schema(_ text: String, _ call: String, of channel: String) throws(IPCError) -> ChannelSchema {
    do throws(IPCError) {
        if case .object(let members)? = try? JSONValue(parsing: text),
            members.contains(where: { ["message", "request", "reply", "failure"].contains($0.key) })
        {
            return try ChannelSchema(json: text)
        }
        return .messages(try MessageSchema(json: text))
    } catch {
        throw IPCError(error.code, call, channel, advice: error.advice)
    }
}

/// The patterns, by their numbers in C.
private let patterns: [(number: ipc_pattern, pattern: ChannelPattern)] = [
    (IPC_TOPIC, .topic), (IPC_QUEUE, .workQueue), (IPC_SERVICE, .service), (IPC_LATEST, .latest), (IPC_EVENT, .event),
]

private func pattern(
    _ number: ipc_pattern, _ call: String, of channel: String
) throws(IPCError) -> ChannelPattern {
    guard let known = patterns.first(where: { $0.number == number }) else {
        throw .argument("pattern", call, "it is \(number.rawValue); there are 1 to 5", of: channel)
    }
    return known.pattern
}

@c @implementation
public func ipc_version() -> Int32 { IPC_VERSION }

@c @implementation
public func ipc_open(
    _ name: UnsafePointer<CChar>?, _ given: UnsafePointer<ipc_options>?, _ timeout: Int64,
    _ channel: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let channel = try output(channel, "channel", "ipc_open")
        let name = try text(name, "name", "ipc_open")
        let given = try GivenOptions(given, "ipc_open", of: name)
        if let first = given.names.first {
            throw .argument(
                first, "ipc_open", "it takes only root; leave it out, or use ipc_open_or_create, which compares it",
                of: name)
        }
        let opened =
            timeout == 0
            ? try AnyChannel.open(name, in: given.root)
            : try AnyChannel.open(name, in: given.root, until: Deadline(timeout: timeout))
        channel.pointee = Handle(OpenChannel(opened), .channel).pointer
    }
}

private func create(
    _ number: ipc_pattern, _ name: UnsafePointer<CChar>?, _ schema: UnsafePointer<CChar>?,
    _ given: UnsafePointer<ipc_options>?, isNew: Bool, _ out: UnsafeMutablePointer<OpaquePointer?>?, _ call: String
) throws(IPCError) {
    let out = try output(out, "channel", call)
    let name = try text(name, "name", call)
    let pattern = try pattern(number, call, of: name)
    let given = try GivenOptions(given, call, of: name)
    let type =
        schema == nil ? nil : try IPCForC.schema(text(schema, "schema", call, of: name), call, of: name)
    let channel =
        isNew
        ? try AnyChannel.create(
            pattern, name, in: given.root, given.options, schema: type, maximumAttempts: given.maximumAttempts,
            maximumWaiting: given.maximumWaiting)
        : try AnyChannel.openOrCreate(
            pattern, name, in: given.root, given.options, schema: type, maximumAttempts: given.maximumAttempts,
            maximumWaiting: given.maximumWaiting)
    out.pointee = Handle(OpenChannel(channel), .channel).pointer
}

@c @implementation
public func ipc_create(
    _ pattern: ipc_pattern, _ name: UnsafePointer<CChar>?, _ schema: UnsafePointer<CChar>?,
    _ options: UnsafePointer<ipc_options>?, _ channel: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        try create(pattern, name, schema, options, isNew: true, channel, "ipc_create")
    }
}

@c @implementation
public func ipc_open_or_create(
    _ pattern: ipc_pattern, _ name: UnsafePointer<CChar>?, _ schema: UnsafePointer<CChar>?,
    _ options: UnsafePointer<ipc_options>?, _ channel: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        try create(pattern, name, schema, options, isNew: false, channel, "ipc_open_or_create")
    }
}

@c @implementation
public func ipc_channel_close(_ channel: OpaquePointer?) {
    _ = Handle<OpenChannel>(channel, .channel)?.take()
}

@c @implementation
public func ipc_remove(
    _ name: UnsafePointer<CChar>?, _ path: UnsafePointer<CChar>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        let name = try text(name, "name", "ipc_remove")
        try Topic<RawBytes>.remove(name, in: root(path, "ipc_remove", of: name))
    }
}

/// The channel of a handle; nil if it is not open.
func opened(_ channel: OpaquePointer?) -> OpenChannel? { Handle<OpenChannel>(channel, .channel)?.value.pointee }

@c @implementation
public func ipc_channel_pattern(_ channel: OpaquePointer?) -> ipc_pattern {
    let pattern = opened(channel)?.channel.pattern
    return patterns.first { $0.pattern == pattern }?.number ?? ipc_pattern(rawValue: 0)
}

@c @implementation
public func ipc_channel_message_size(_ channel: OpaquePointer?) -> Int {
    opened(channel)?.channel.messageSize ?? 0
}

@c @implementation
public func ipc_channel_name(_ channel: OpaquePointer?) -> UnsafePointer<CChar>? {
    UnsafePointer(opened(channel)?.name)
}

@c @implementation
public func ipc_channel_schema(_ channel: OpaquePointer?) -> UnsafePointer<CChar>? {
    UnsafePointer(opened(channel)?.schema)
}

@c @implementation
public func ipc_to_json(
    _ channel: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ count: Int,
    _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        json?.pointee = nil
        guard let opened = opened(channel) else { throw .handle("channel", "ipc_to_json") }
        guard let json else { throw .argument("json", "ipc_to_json", "it is NULL", of: opened.channel) }
        let message = try Array(span(bytes, count, "ipc_to_json", of: opened.channel))
        let text = try opened.channel.schema.message.json(of: message)
        json.pointee = try allocated(text.utf8).assumingMemoryBound(to: CChar.self)
    }
}

@c @implementation
public func ipc_from_json(
    _ channel: OpaquePointer?, _ json: UnsafePointer<CChar>?, _ bytes: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        bytes?.pointee = nil
        count?.pointee = 0
        guard let opened = opened(channel) else { throw .handle("channel", "ipc_from_json") }
        guard let bytes, let count else {
            throw .argument("bytes, count", "ipc_from_json", "one of them is NULL", of: opened.channel)
        }
        let name = opened.channel.name.description
        let message = try opened.channel.schema.message.message(
            json: text(json, "json", "ipc_from_json", of: name))
        bytes.pointee = try allocated(message)
        count.pointee = message.count
    }
}

@c @implementation
public func ipc_free(_ memory: UnsafeMutableRawPointer?) { free(memory) }

@c @implementation
public func ipc_code_name(_ code: Int32) -> UnsafePointer<CChar>? {
    let index = names.indices.contains(Int(code)) ? Int(code) : names.count - 1
    return UnsafePointer(nameTexts[index])
}

/// In the order of the codes.
private let names = [
    "ok", "timed-out", "not-found", "already-exists", "wrong-type", "incompatible-options", "permission-denied",
    "limit-reached", "address-in-use", "invalid-argument", "message-too-large", "removed", "corrupted", "lease-lost",
    "broken-pipe", "overloaded", "not-ready", "inherited", "no-space", "unsupported", "failed",
]
/// The same for C; never freed.
nonisolated(unsafe) private let nameTexts: [UnsafeMutablePointer<CChar>?] = names.map { strdup($0) }

@c @implementation
public func ipc_describe(
    _ name: UnsafePointer<CChar>?, _ path: UnsafePointer<CChar>?,
    _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ error: UnsafeMutablePointer<ipc_error>?
) -> Int32 {
    call(error) { () throws(IPCError) in
        json?.pointee = nil
        let name = try text(name, "name", "ipc_describe")
        guard let json else { throw .argument("json", "ipc_describe", "it is NULL", of: name) }
        let root = try root(path, "ipc_describe", of: name)
        let text = try ChannelDescription(ChannelName(name), in: root).json.text
        json.pointee = try allocated(text.utf8).assumingMemoryBound(to: CChar.self)
    }
}
