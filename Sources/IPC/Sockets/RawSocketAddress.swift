import CIPCShims
import Glibc
import SystemPackage

/// A `sockaddr` of any family, made from an ``Endpoint`` and back. (Named apart from NIO's `SocketAddress`.)
struct RawSocketAddress: Sendable {
    private var storage = sockaddr_storage()
    private(set) var length: socklen_t

    /// The address of a Unix socket.
    ///
    /// - Throws: ``IPCError/Code/invalidName`` for what the kernel would take for another name.
    init(unix endpoint: Endpoint) throws(IPCError) {
        try endpoint.checkUnixName()
        var name: [UInt8]
        switch endpoint {
        case .unix(let path): name = path.bytes + [0]
        case .unixAbstract(let abstract): name = [0] + abstract.bytes
        case .tcp, .udp:
            throw IPCError(.wrongType, "address", "\(endpoint)", advice: "this is not a Unix socket; use unix:///path")
        }
        length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        storage.ss_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes[MemoryLayout<sa_family_t>.size...].copyBytes(from: name)
        }
    }

    /// An address that the resolver found.
    init(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) {
        self.length = min(length, socklen_t(MemoryLayout<sockaddr_storage>.size))
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(self.length)))
        }
    }

    /// An address for the kernel to fill in.
    init() { length = socklen_t(MemoryLayout<sockaddr_storage>.size) }

    var family: CInt { CInt(storage.ss_family) }

    /// Lends it as the C calls take it.
    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }

    /// Lends it to a C call that fills it in.
    mutating func withMutablePointer<Result>(
        _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result
    ) -> Result {
        unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, &length) }
        }
    }

    /// The endpoint that it means; nil for an unnamed Unix socket.
    func endpoint(isDatagram: Bool) -> Endpoint? {
        switch family {
        case AF_UNIX: unixEndpoint
        case AF_INET, AF_INET6:
            numericHost.map { host, port in isDatagram ? .udp(host: host, port: port) : .tcp(host: host, port: port) }
        default: nil
        }
    }

    private var unixEndpoint: Endpoint? {
        let pathLength = Int(length) - MemoryLayout<sa_family_t>.size
        guard pathLength > 0 else { return nil }
        let path = unsafe withUnsafeBytes(of: storage) {
            unsafe Array($0[MemoryLayout<sa_family_t>.size...].prefix(pathLength))
        }
        return path[0] == 0 ? .unixAbstract(AbstractName(bytes: Array(path.dropFirst()))) : .unix(FilePath(bytes: path))
    }

    private var numericHost: (String, UInt16)? {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let result = unsafe withPointer { address, length in
            unsafe getnameinfo(
                address, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV)
        }
        func text(_ characters: [CChar]) -> String {
            String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        guard result == 0, let number = UInt16(text(port)) else { return nil }
        return (text(host), number)
    }
}
