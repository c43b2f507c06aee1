import Synchronization
import Glibc
public import IPC
public import IPCChannels

/// Where this process and its children have their channels, so that the tests never meet a user's. It goes at the end, if
/// no channel is left in it.
public let channelRoot: String = {
    let path = "/dev/shm/" + uniqueName()
    setenv("IPC_ROOT", path, 1)
    atexit {
        unlink(channelRoot + "/.lock")
        var bells = glob_t()
        glob(channelRoot + "/.wake-*", 0, nil, &bells)
        for index in 0..<Int(bells.gl_pathc) { unlink(bells.gl_pathv[index]!) }
        rmdir(channelRoot)
    }
    return path
}()

/// A name for a channel in ``channelRoot``.
public func channelName() -> String {
    _ = channelRoot
    return "test/\(uniqueName())"
}

/// How many messages of each writer of a stream are known to be through, wherever their writers died.
public struct Progress: ~Copyable {
    public let name: String
    private let mapping: MemoryMapping

    public init() throws(IPCError) {
        name = uniqueName()
        mapping = try SharedMemory.create(name, byteCount: 4096).map()
    }

    deinit { try? SharedMemory.unlink(name) }

    public subscript(writer: Int) -> Int {
        mapping.withAtomic(UInt64.self, at: writer * 8) { Int($0.load(ordering: .acquiring)) }
    }
}

/// The shortest time that `attempt` reports in a few tries: the machine is shared, and what is to be shown is how long the
/// library waits, not how long another test kept the processor.
public func shortest(_ attempt: () throws -> Duration) rethrows -> Duration {
    var best = try attempt()
    for _ in 0..<20 where best >= .milliseconds(100) { best = min(best, try attempt()) }
    return best
}

/// The message that ends a stream.
public func publishEnd(_ topic: Topic<RawBytes>) throws(IPCError) {
    var publisher = try topic.makePublisher()
    try publisher.publish(([UInt32.max, 0, 0, 0] as [UInt32]).span.bytes, until: .after(.seconds(60)))
}

/// The channels that are there now.
public func channelFolders() -> [String] {
    guard let folder = opendir(channelRoot) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names
}
