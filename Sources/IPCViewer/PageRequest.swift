/// What a browser asks for: the head of an HTTP request.
struct PageRequest: Sendable {
    let method: String
    /// Without what comes after the question mark.
    let path: String
    let parameters: [String: String]
    let host: String

    /// - Parameter head: All before the empty line.
    /// - Returns: Nil for what is no request.
    init?(head: [UInt8]) {
        guard let text = String(validating: head, as: UTF8.self) else { return nil }
        // A line may end with CR and LF, which is one character.
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\r\n" || $0 == "\n" }
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3, words[2].hasPrefix("HTTP/1.") else { return nil }
        method = String(words[0])
        let target = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(target[0])
        var parameters: [String: String] = [:]
        for pair in (target.count > 1 ? target[1] : "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(parts[0]), let value = Self.decoded(parts.count > 1 ? parts[1] : "") else {
                return nil
            }
            parameters[name] = value
        }
        self.parameters = parameters
        let hosts = lines.dropFirst().filter { $0.lowercased().hasPrefix("host:") }
        guard hosts.count == 1 else { return nil }
        host = String(hosts[0].dropFirst(5).drop { $0 == " " })
    }

    /// With `%2F` as the slash that it stands for; nil if that is no text.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
                continue
            }
            let digits = rest.prefix(2)
            rest = rest.dropFirst(2)
            guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// What it is answered with.
struct PageResponse: Sendable {
    let status: String
    let type: String
    /// Shared by all that are answered with the same.
    let body: [UInt8]

    init(_ body: [UInt8], _ type: String, status: String = "200 OK") {
        self.body = body
        self.type = type
        self.status = status
    }

    static let notFound = PageResponse(Array("not found\n".utf8), "text/plain", status: "404 Not Found")
    static let tooMany = PageResponse(
        Array("more than \(PageServer.most) connections are open; try again later\n".utf8), "text/plain",
        status: "503 Service Unavailable")

    var head: [UInt8] {
        let lines = [
            "HTTP/1.1 \(status)", "Content-Type: \(type)", "Content-Length: \(body.count)", "Connection: close",
            "Cache-Control: no-store", "Content-Security-Policy: default-src 'self' 'unsafe-inline'",
            "Referrer-Policy: no-referrer", "X-Content-Type-Options: nosniff", "", "",
        ]
        return Array(lines.joined(separator: "\r\n").utf8)
    }
}
