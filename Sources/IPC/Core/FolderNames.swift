import CIPCShims
import Glibc
import SystemPackage

/// The names in a folder, in no order, without `.` and `..`.
package func namesInFolder(_ path: String) throws(IPCError) -> [String] {
    guard let folder = unsafe opendir(path) else { throw IPCError("opendir", path, Errno(rawValue: errno)) }
    return unsafe names(in: folder)
}

/// The same of a folder that is open, on whatever descriptor; `path` is for errors.
package func namesInFolder(_ descriptor: CInt, _ path: String) throws(IPCError) -> [String] {
    // Of its own, whose place in the folder is the beginning.
    let raw = try retryingInterrupts { unsafe ipc_openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }
        .orThrow("open", path)
    guard let folder = unsafe fdopendir(raw) else {
        let error = IPCError("opendir", path, Errno(rawValue: errno))
        Glibc.close(raw)
        throw error
    }
    return unsafe names(in: folder)
}

private func names(in folder: OpaquePointer) -> [String] {
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}
