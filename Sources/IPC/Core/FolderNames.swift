import Glibc
import SystemPackage

/// The names in a folder, in no order, without `.` and `..`.
package func namesInFolder(_ path: String) throws(IPCError) -> [String] {
    guard let folder = unsafe opendir(path) else { throw IPCError("opendir", path, Errno(rawValue: errno)) }
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
