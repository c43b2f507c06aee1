import Glibc
import IPC
import SystemPackage

enum PermissionRoles {
    /// Creates one of each kind for everyone, and says which permissions it has.
    static func wide(_ name: String) throws {
        let all = FilePermissions(rawValue: 0o666)
        let path = FilePath("/tmp/\(name)")
        let pipe = try NamedPipe.create(path, permissions: all)
        TestPeer.say("pipe \(mode(path.string))")
        try pipe.unlink()
        _ = try SharedMemory.create(name, byteCount: 10, permissions: all)
        TestPeer.say("memory \(mode("/dev/shm/\(name)"))")
        try SharedMemory.unlink(name)
        _ = try MappedFile.create(path, byteCount: 10, permissions: all)
        TestPeer.say("file \(mode(path.string))")
        remove(path.string)
        let queue = try MessageQueue.create(name, maximumMessages: 1, messageSize: 8, permissions: all)
        var status = stat()
        fstat(queue.descriptor.rawValue, &status)
        TestPeer.say("queue \(octal(status))")
        try MessageQueue.unlink(name)
        _ = try NamedSemaphore.create(name, value: 1, permissions: all)
        TestPeer.say("semaphore \(mode("/dev/shm/sem.\(name)"))")
        try NamedSemaphore.unlink(name)
    }

    private static func mode(_ path: String) -> String {
        var status = stat()
        lstat(path, &status)
        return octal(status)
    }

    private static func octal(_ status: stat) -> String { String(status.st_mode & 0o777, radix: 8) }
}
