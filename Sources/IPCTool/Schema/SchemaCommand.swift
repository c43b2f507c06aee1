import ArgumentParser
import IPC
import IPCChannels

/// `ipc schema`: what a channel's messages consist of.
struct SchemaCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print what a channel's messages consist of, as JSON or as a declaration.",
        discussion: """
            Formats: json; c, structures of C11 whose layout the compiler checks; swift, types that open the channel; numpy, a Python \
            expression for numpy.frombuffer; python, types for swift_ipc. The channel is not joined. Of a service, there are three types: request, reply and \
            failure.

            Examples:
              ipc schema market/quotes > quote.json
              ipc topic create market/replay --schema quote.json
              ipc schema market/quotes --format c > quote.h
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument { case json, c, swift, numpy, python }

    @Argument(help: "The channel's name, such as market/quotes.", completion: ChannelCompletion.anyPattern)
    var name: String
    @Option(name: .long, help: "How to print the schema.") var format = Format.json

    func perform() async throws {
        let channel = try AnyChannel.open(name)
        let text =
            switch format {
            case .json: channel.schema.json + "\n"
            case .c: try CDeclaration.text(channel.schema, of: name)
            case .swift: try SwiftDeclaration.text(channel.schema, of: name, channel.pattern)
            case .numpy: try NumPyDeclaration.text(channel.schema, of: name) + "\n"
            case .python: try PythonDeclaration.text(channel.schema, of: name, channel.pattern)
            }
        try MessageOutput.put(Array(text.utf8))
    }
}

extension ChannelSchema {
    /// Each kind of message, with a name for it.
    var parts: [(name: String, schema: MessageSchema)] {
        switch self {
        case .messages(let message): [("Message", message)]
        case .calls(let request, let reply, let failure):
            [("Request", request), ("Reply", reply), ("Failure", failure)]
        }
    }
}

extension MessageSchema {
    /// How the size of its messages varies, for people; nil if it does not.
    var variableSizeNote: String? {
        switch self {
        case .bytes: "any number of bytes"
        case .coded(let type, let coder): "any number of bytes: values of \(type), encoded as \(coder)"
        case .framed(let header): "a \(header.name), with any number of bytes after it"
        default: nil
        }
    }
}

/// Text for comments of C and Swift, whatever is in it: it neither ends the comment nor is it warned about.
enum DeclarationText {
    static func comment(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            let isPlain =
                scalar.isASCII
                ? scalar.value >= 0x20 && scalar.value != 0x7f && scalar != "\\" && scalar != "?"
                : scalar.properties.isAlphabetic
            if isPlain {
                result.unicodeScalars.append(scalar)
            } else {
                result += "U+" + String(scalar.value, radix: 16, uppercase: true)
            }
        }
        return result
    }

    /// The error for what a language cannot express.
    static func refusal(_ language: String, _ channel: String, _ advice: String) -> IPCError {
        IPCError(.unsupported, "declare in \(language)", channel, advice: advice)
    }

    static func path(_ path: String, _ name: String) -> String { path.isEmpty ? name : path + "." + name }
}

/// Names that were given already, so that each is given once.
struct UniqueNames {
    private var taken: Set<String>
    private var counts: [String: Int] = [:]

    init(_ taken: Set<String> = []) { self.taken = taken }

    /// - Returns: The name, with a number after it if it is taken.
    mutating func take(_ name: String) -> String {
        if taken.insert(name).inserted { return name }
        var count = counts[name, default: 1]
        var candidate: String
        repeat {
            count += 1
            candidate = "\(name)_\(count)"
        } while !taken.insert(candidate).inserted
        counts[name] = count
        return candidate
    }
}
