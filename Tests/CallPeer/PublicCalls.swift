import Glibc
import IPC
import SystemPackage

/// A public function or initializer of the library, as its source says it.
struct PublicCall: Hashable {
    /// Such as `PipeReader.read(into:until:) async`.
    let name: String
    let throwsErrors: Bool

    var hasDeadline: Bool { name.contains("until:") }
    /// Whether it promises never to wait.
    var isTry: Bool { name.split(separator: ".").last?.hasPrefix("try") == true }
}

/// Reads the public calls from the library's sources, so that none can be added without a row in the tables here.
enum PublicCalls {
    /// All of the modules in `folder`, which has `IPC` and `IPCChannels`.
    static func all(in folder: FilePath) throws -> Set<PublicCall> {
        var calls: Set<PublicCall> = []
        for module in ["IPC", "IPCChannels"] { try collect(folder.appending(module), into: &calls) }
        return calls
    }

    private static func collect(_ folder: FilePath, into calls: inout Set<PublicCall>) throws {
        guard let handle = opendir(folder.string) else { throw Errno(rawValue: errno) }
        defer { closedir(handle) }
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(".") || name.hasSuffix(".docc") { continue }
            let path = folder.appending(name)
            guard name.hasSuffix(".swift") else {
                try collect(path, into: &calls)
                continue
            }
            let file = try FileDescriptor.open(path, .readOnly)
            let text = try file.closeAfter {
                var text: [UInt8] = []
                var part = [UInt8](repeating: 0, count: 65_536)
                while case let count = try part.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
                    text += part[..<count]
                }
                return text
            }
            var scanner = SourceScanner(text)
            calls.formUnion(scanner.calls())
        }
    }
}

/// Finds declarations in Swift source: enough of the grammar for this library's own.
private struct SourceScanner {
    private var tokens: [Substring] = []

    init(_ text: [UInt8]) {
        let source = String(decoding: text, as: UTF8.self)
        for line in source.split(separator: "\n") {
            var rest = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
            while let first = rest.first {
                if first == "\"" {
                    // A string in one line; its contents are no code.
                    var end = rest.index(after: rest.startIndex)
                    while end < rest.endIndex, rest[end] != "\"" {
                        end =
                            rest.index(end, offsetBy: rest[end] == "\\" ? 2 : 1, limitedBy: rest.endIndex)
                            ?? rest.endIndex
                    }
                    rest = end < rest.endIndex ? rest[rest.index(after: end)...] : ""
                } else if first.isLetter || first == "_" {
                    let end =
                        rest.firstIndex { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == ".") } ?? rest.endIndex
                    tokens.append(rest[..<end])
                    rest = rest[end...]
                } else if rest.hasPrefix("->") {
                    rest = rest.dropFirst(2)
                } else {
                    if !first.isWhitespace { tokens.append(rest.prefix(1)) }
                    rest = rest.dropFirst()
                }
            }
        }
    }

    mutating func calls() -> [PublicCall] {
        var found: [PublicCall] = []
        var types: [Substring?] = []
        var pending: Substring?
        var isPublic = false
        var index = 0
        while index < tokens.count {
            switch tokens[index] {
            case "extension", "struct", "class", "enum", "protocol":
                // Not `class func`, and not a constraint.
                if index + 1 < tokens.count, tokens[index + 1].first?.isUppercase == true {
                    pending = tokens[index + 1]
                }
                isPublic = false
            case "{":
                types.append(pending)
                pending = nil
                isPublic = false
            case "}":
                _ = types.popLast()
                isPublic = false
            case "public": isPublic = true
            case "var", "let", "typealias", "case", "import": isPublic = false
            case "func" where isPublic, "init" where isPublic:
                let name = tokens[index] == "init" ? "init" : tokens[index + 1]
                let type = types.compactMap { $0 }.joined(separator: ".")
                if let call = call(type + "." + name, from: &index) { found.append(call) }
                isPublic = false
            default: break
            }
            index += 1
        }
        return found
    }

    /// Goes to the body of the declaration at `index`.
    private func call(_ name: String, from index: inout Int) -> PublicCall? {
        while tokens[index] != "(" {
            if tokens[index] == "{" || index + 1 == tokens.count { return nil }
            index += 1
        }
        var (labels, depth, isLabel, isDefault) = ("", 0, true, false)
        repeat {
            switch tokens[index] {
            // In a default value they are operators.
            case "<" where isDefault, ">" where isDefault: break
            case "(", "[", "<": depth += 1
            case ")", "]", ">": depth -= 1
            case "," where depth == 1: (isLabel, isDefault) = (true, false)
            case "=" where depth == 1: isDefault = true
            case "@", "escaping": break
            case let word where isLabel && depth == 1:
                labels += word + ":"
                isLabel = false
            default: break
            }
            index += 1
        } while depth > 0 && index < tokens.count
        var (isAsync, throwsErrors) = (false, false)
        while index < tokens.count, tokens[index] != "{" {
            if tokens[index] == "async" { isAsync = true }
            if tokens[index] == "throws" || tokens[index] == "rethrows" { throwsErrors = true }
            index += 1
        }
        index -= 1
        return PublicCall(name: "\(name)(\(labels))\(isAsync ? " async" : "")", throwsErrors: throwsErrors)
    }
}
