import IPC
import IPCChannels

/// Declarations of a channel's messages in C11: structures with explicit padding, whose sizes and offsets the compiler checks.
struct CDeclaration {
    private let channel: String
    private var text = ""
    private var names = UniqueNames(CDeclaration.reserved)
    /// The names of types that are declared.
    private var types: [MessageSchema: String] = [:]

    /// - Throws: `unsupported` if fields overlap.
    static func text(_ schema: ChannelSchema, of channel: String) throws(IPCError) -> String {
        var declaration = CDeclaration(channel: channel)
        declaration.line(
            "// \(DeclarationText.comment("\(channel): \(schema.name)")), in C11. Numbers are little-endian.")
        declaration.line("#include <stddef.h>")
        declaration.line("#include <stdint.h>")
        for part in schema.parts { try declaration.declareMessage(part.name, part.schema) }
        return declaration.text
    }

    private init(channel: String) { self.channel = channel }

    private mutating func line(_ line: String) { text += line + "\n" }

    // MARK: Messages

    private mutating func declareMessage(_ role: String, _ schema: MessageSchema) throws(IPCError) {
        if let note = schema.variableSizeNote {
            line("")
            line("// \(role): \(DeclarationText.comment(note)).")
            if case .framed(let header) = schema { try declareMessage("Header", header) }
            return
        }
        let name: String
        if case .structure(let structure) = schema {
            name = try type(structure, schema, path: "")
        } else {
            name = names.take(role)
            try declare(name, schema, parts: [Part("value", at: 0, schema)], path: "")
        }
        line("")
        line("// \(role): \(name), \(schema.byteCount) bytes without the padding at its end.")
        if schema.byteCount <= Int32.max {
            line("enum { \(names.take(name + "_message_size")) = \(schema.byteCount) };")
        }
    }

    // MARK: Structures

    /// A member, or what will be several.
    private struct Part {
        var name: String
        var offset: Int
        var schema: MessageSchema
        var note: String?

        init(_ name: String, at offset: Int, _ schema: MessageSchema, note: String? = nil) {
            self.name = name
            self.offset = offset
            self.schema = schema
            self.note = note
        }

        /// Its members, if it is of several; they are members of what it is in, then.
        var members: [Part]? {
            func member(_ suffix: String, _ place: Int, _ schema: MessageSchema, note: String? = nil) -> Part {
                Part(name + suffix, at: offset + place, schema, note: note)
            }
            switch schema {
            case .structure(let structure):
                return structure.fields.map { member("_" + $0.name, $0.offset, $0.schema) }
            case .text(let capacity):
                return [
                    member("_count", 0, .integer(byteCount: 4, isSigned: false)),
                    member("_bytes", 4, .array(count: capacity, of: .integer(byteCount: 1, isSigned: false))),
                ]
            case .list(let capacity, let element):
                let start = (4 + element.alignment - 1) & -element.alignment
                return [
                    member("_count", 0, .integer(byteCount: 4, isSigned: false)),
                    member("_elements", start, .array(count: capacity, of: element)),
                ]
            case .optional(let wrapped, .byteAfterValue):
                let mark = MessageSchema.integer(byteCount: 1, isSigned: false)
                return [
                    member("", 0, wrapped, note: note),
                    member(
                        "_is_none", wrapped.byteCount, mark,
                        note: "1: none, and \(name) is all zeros; 0: \(name) is valid"),
                ]
            case .optional(let wrapped, .pattern(let number, let byteCount, let place)):
                let location = wrapped.isOneNumber ? "" : "the uint\(byteCount * 8)_t at byte \(offset + place) is "
                let mark = "none: \(location)\(number)"
                return [member("", 0, wrapped, note: note.map { "\($0); \(mark)" } ?? mark)]
            default: return nil
            }
        }

        var isOptional: Bool { if case .optional = schema { true } else { false } }
    }

    /// The name of a structure's type, which is declared now if it is not yet.
    private mutating func type(
        _ structure: MessageSchema.Structure, _ schema: MessageSchema, path: String
    ) throws(IPCError) -> String {
        if let known = types[schema] { return known }
        let name = names.take(Self.typeName(structure.name.isEmpty ? "Tuple" : structure.name))
        types[schema] = name
        try declare(name, schema, parts: structure.fields.map { Part($0.name, at: $0.offset, $0.schema) }, path: path)
        return name
    }

    /// The name of the type of another part of several members.
    private mutating func type(_ schema: MessageSchema, _ name: String, path: String) throws(IPCError) -> String {
        if let known = types[schema] { return known }
        let name = names.take(name)
        types[schema] = name
        let parts: [Part]
        if case .opaque = schema {
            parts = [Part("bytes", at: 0, schema)]
        } else {
            // Their names begin with the part's, which has none.
            parts = Part("", at: 0, schema).members!.map { part in
                var part = part
                part.name = part.name.isEmpty ? "value" : String(part.name.dropFirst())
                part.note = part.name == "is_none" ? "1: none, and value is all zeros; 0: value is valid" : part.note
                return part
            }
        }
        try declare(name, schema, parts: parts, path: path)
        return name
    }

    private mutating func declare(
        _ type: String, _ schema: MessageSchema, parts: [Part], path: String
    ) throws(IPCError) {
        let size = schema.stride
        let fields = members(parts, size)
        var memberNames = UniqueNames()
        var (lines, checks): ([String], [String]) = ([], [])
        var (end, alignment, padCount) = (0, 1, 0)
        func pad(to offset: Int) {
            guard offset > end else { return }
            lines.append("    uint8_t \(memberNames.take("_pad\(padCount)"))[\(offset - end)];")
            padCount += 1
        }
        for field in fields {
            let fieldPath = DeclarationText.path(path, field.name)
            guard field.offset >= end else {
                throw DeclarationText.refusal(
                    "C", channel, "the field \(fieldPath) overlaps another one; use --format numpy or json")
            }
            pad(to: field.offset)
            let name = memberNames.take(Self.identifier(field.name))
            var note = field.note
            let isAligned =
                field.offset % field.schema.alignment == 0 && field.schema.alignment <= schema.alignment
            let declarator: Declarator
            if isAligned {
                declarator = try self.declarator(field.schema, field.name, path: fieldPath)
                alignment = max(alignment, declarator.alignment)
            } else {
                declarator = Declarator("uint8_t", [field.schema.byteCount], alignment: 1)
                note = "\(field.schema.name), which is not aligned" + (note.map { "; \($0)" } ?? "")
            }
            note = [note, declarator.note].compactMap(\.self).joined(separator: "; ")
            let dimensions = declarator.dimensions.map { "[\($0)]" }.joined()
            let comment = note.map { $0.isEmpty ? "" : "  // " + DeclarationText.comment($0) } ?? ""
            lines.append("    \(declarator.type) \(name)\(dimensions);\(comment)")
            checks.append("_Static_assert(offsetof(\(type), \(name)) == \(field.offset), \"\(type).\(name)\");")
            end = field.offset + field.schema.cByteCount
        }
        pad(to: size)
        if alignment < schema.alignment { lines[0] = "    _Alignas(\(schema.alignment)) " + lines[0].dropFirst(4) }
        line("")
        line("typedef struct \(type) {")
        for member in lines { line(member) }
        line("} \(type);")
        line("_Static_assert(sizeof(\(type)) == \(size), \"size of \(type)\");")
        line("_Static_assert(_Alignof(\(type)) == \(schema.alignment), \"alignment of \(type)\");")
        for check in checks { line(check) }
    }

    /// The members of a structure in the order of their offsets, without those that have no bytes. A part of several members is
    /// replaced by them where the padding at the end of its type in C would overlap what follows.
    private func members(_ parts: [Part], _ size: Int) -> [Part] {
        /// Those to come, the next one last.
        var left = Self.inOrder(parts)
        var members: [Part] = []
        while let part = left.popLast() {
            let limit = left.last?.offset ?? size
            let isTooLarge = part.offset + part.schema.cByteCount > limit
            if part.isOptional || isTooLarge, let inner = part.members {
                var inner = Self.inOrder(inner)
                if let note = part.note, !part.isOptional, var first = inner.popLast() {
                    first.note = first.note.map { "\(note); \($0)" } ?? note
                    inner.append(first)
                }
                left += inner
            } else {
                members.append(part)
            }
        }
        return members
    }

    /// With the first one last, and without those that have no bytes.
    private static func inOrder(_ parts: [Part]) -> [Part] {
        parts.filter { $0.schema.byteCount > 0 }.enumerated()
            .sorted { ($0.element.offset, $0.offset) > ($1.element.offset, $1.offset) }.map(\.element)
    }

    // MARK: Members

    /// The type of a member, which C writes on both sides of its name.
    private struct Declarator {
        let type: String
        var dimensions: [Int] = []
        let alignment: Int
        var note: String?

        init(_ type: String, _ dimensions: [Int] = [], alignment: Int, note: String? = nil) {
            self.type = type
            self.dimensions = dimensions
            self.alignment = alignment
            self.note = note
        }
    }

    private mutating func declarator(
        _ schema: MessageSchema, _ name: String, path: String, isElement: Bool = false
    ) throws(IPCError) -> Declarator {
        let alignment = schema.alignment
        switch schema {
        case .integer(16, let isSigned):
            return Declarator(isSigned ? "__int128" : "unsigned __int128", alignment: alignment)
        case .integer(let byteCount, let isSigned):
            return Declarator((isSigned ? "int" : "uint") + "\(byteCount * 8)_t", alignment: alignment)
        case .float(2): return Declarator("uint16_t", alignment: 2, note: "a number of IEEE 754 with 16 bits")
        case .float(4): return Declarator("float", alignment: 4)
        case .float(8): return Declarator("double", alignment: 8)
        case .float: return Declarator("long double", alignment: alignment, note: "the x87 format")
        case .bool: return Declarator("uint8_t", alignment: 1, note: "0 or 1")
        case .scalar: return Declarator("uint32_t", alignment: 4, note: "a Unicode scalar value")
        case .structure(let structure):
            return Declarator(try type(structure, schema, path: path), alignment: alignment)
        case .enumeration(let enumeration):
            return Declarator(type(enumeration, schema), alignment: alignment)
        case .array(let count, let element):
            // Elements without bytes are one byte apart.
            guard element.byteCount > 0 else { return Declarator("uint8_t", [count], alignment: 1) }
            var declarator = try declarator(element, name, path: path + "[]", isElement: true)
            declarator.dimensions.insert(count, at: 0)
            return declarator
        case .optional(let wrapped, .pattern):
            var declarator = try declarator(wrapped, name, path: path, isElement: isElement)
            let mark = Part(name, at: 0, schema).members![0].note!
            declarator.note = declarator.note.map { "\($0); \(mark)" } ?? mark
            return declarator
        case .optional(let wrapped, .byteAfterValue):
            let name = Self.typeName("Optional_" + wrapped.name)
            return Declarator(try type(schema, name, path: path), alignment: alignment)
        case .text(let capacity):
            return Declarator(try type(schema, "Text\(capacity)", path: path), alignment: alignment, note: "UTF-8")
        case .list(let capacity, let element):
            let name = Self.typeName("List\(capacity)_" + element.name)
            return Declarator(try type(schema, name, path: path), alignment: alignment)
        case .opaque(let byteCount, let alignment):
            if isElement, alignment > 1 {
                return Declarator(try type(schema, "Opaque\(byteCount)_\(alignment)", path: path), alignment: alignment)
            }
            // C aligns it by the structure that it is in.
            return Declarator("uint8_t", [byteCount], alignment: 1)
        case .bytes, .coded, .framed:
            throw DeclarationText.refusal("C", channel, "\(path) is of a kind that only whole messages have")
        }
    }

    /// The name of an enumeration's type, which is declared now if it is not yet.
    private mutating func type(_ enumeration: MessageSchema.Enumeration, _ schema: MessageSchema) -> String {
        if let known = types[schema] { return known }
        let name = names.take(Self.typeName(enumeration.name))
        types[schema] = name
        line("")
        line("typedef uint\(max(enumeration.byteCount, 1) * 8)_t \(name);")
        line("enum {")
        for (number, element) in enumeration.cases.enumerated() {
            let raw: String? =
                switch element.rawValue {
                case nil: nil
                case .number(let digits): digits
                case .text(let text): "\"\(text)\""
                }
            let comment = raw.map { "  // raw value " + DeclarationText.comment($0) } ?? ""
            line("    \(names.take(name + "_" + Self.identifier(element.name))) = \(number),\(comment)")
        }
        line("};")
        return name
    }

    // MARK: Names

    /// A name that C can have, in ASCII.
    private static func identifier(_ name: String) -> String {
        var result = ""
        for scalar in name.unicodeScalars {
            let isPlain = scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
            result.unicodeScalars.append(isPlain ? scalar : "_")
        }
        if result.isEmpty { result = "unnamed" }
        let second = result.dropFirst().first
        if result.first!.isNumber { return "_" + result }
        // Names of the compiler.
        if result.first == "_", second == "_" || second?.isUppercase == true { result = "x" + result }
        let isMacro = result == "NULL" || result.hasSuffix("_MAX") || result.hasSuffix("_MIN")
        return isMacro || reserved.contains(result) ? result + "_" : result
    }

    /// A name of a type: none of the functions that compilers know, whose names begin with small letters.
    private static func typeName(_ name: String) -> String {
        let result = identifier(name)
        return result.first!.isUppercase || result.hasSuffix("_t") ? result : result + "_t"
    }

    private static let reserved: Set<String> = [
        "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
        "float",
        "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
        "static",
        "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "asm", "typeof", "offsetof",
        "bool",
        "true", "false", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t",
        "intptr_t", "uintptr_t", "intmax_t", "uintmax_t", "size_t", "ptrdiff_t", "wchar_t", "max_align_t",
        "int_least8_t", "int_least16_t", "int_least32_t", "int_least64_t", "uint_least8_t", "uint_least16_t",
        "uint_least32_t", "uint_least64_t", "int_fast8_t", "int_fast16_t", "int_fast32_t", "int_fast64_t",
        "uint_fast8_t",
        "uint_fast16_t", "uint_fast32_t", "uint_fast64_t",
    ]
}

extension MessageSchema {
    /// The size of its type in C, which includes the padding at the end of a structure.
    fileprivate var cByteCount: Int {
        switch self {
        case .structure, .text, .list: stride
        case .optional(let wrapped, .pattern): wrapped.cByteCount
        // As two members.
        case .optional(let wrapped, .byteAfterValue): wrapped.byteCount + 1
        default: byteCount
        }
    }

    /// Whether it is one number, so that its value says all.
    fileprivate var isOneNumber: Bool {
        switch self {
        case .integer, .float, .bool, .scalar, .enumeration: true
        case .optional(let wrapped, .pattern): wrapped.isOneNumber
        default: false
        }
    }
}
