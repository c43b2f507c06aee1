/// What the runtime knows about a type beyond reflection: read from the type's metadata, in the compiler's layout
/// (docs/ABI/TypeMetadata.rst and include/swift/ABI/MetadataKind.def in the Swift repository).
///
/// Every address read here belongs to metadata, which is never freed, of a kind that has the field by its ABI.
enum TypeMetadata {
    case structure(fields: Int)
    case tuple(elements: Int)
    case optional(Any.Type)
    /// - Parameter isReflected: Whether the runtime knows the names of its cases. It does not in a program built without
    ///   reflection metadata, or for an enumeration with the memory layout of one in C.
    case enumeration(casesWithValues: Int, plainCases: Int, isReflected: Bool)
    /// `Builtin.FixedArray`: the storage of `InlineArray`.
    case array(count: Int, of: Any.Type)
    /// A machine number, a vector of them, or one of the runtime's own handles, as its name shows.
    case builtin
    /// A class, a function, a metatype, an existential: all of these contain addresses.
    case other

    init(_ type: Any.Type) {
        // The value of a metatype is the address of the metadata, whose first word is the kind.
        let metadata = unsafe unsafeBitCast(type, to: UnsafeRawPointer.self)
        switch unsafe metadata.load(as: UInt.self) {
        case 0x200:
            // The descriptor's fields: flags, parent, name, access function, reflected fields, count of fields.
            let description = unsafe Self.description(metadata)
            self = .structure(fields: Int(unsafe description.load(fromByteOffset: 20, as: UInt32.self)))
        case 0x201:
            let description = unsafe Self.description(metadata)
            // A relative address, 0 for none; then two counts. The first count has 24 bits, with other bits above them.
            let reflection = unsafe description.load(fromByteOffset: 16, as: Int32.self)
            let withValues = unsafe description.load(fromByteOffset: 20, as: UInt32.self) & 0xff_ffff
            let plain = unsafe description.load(fromByteOffset: 24, as: UInt32.self)
            self = .enumeration(
                casesWithValues: Int(withValues), plainCases: Int(plain), isReflected: reflection != 0)
        case 0x202:
            // The kind, the descriptor, and then the generic arguments: one, a type.
            self = .optional(unsafe Self.type(metadata, at: 16))
        case 0x300: self = .builtin
        case 0x301: self = .tuple(elements: Int(unsafe metadata.load(fromByteOffset: 8, as: UInt.self)))
        case 0x308:
            // The kind, the count, the element type. The count of a type without values may be negative.
            let count = unsafe metadata.load(fromByteOffset: 8, as: Int.self)
            self = .array(count: max(count, 0), of: unsafe Self.type(metadata, at: 16))
        default: self = .other
        }
    }

    /// The second generic argument of an `InlineArray`, after the kind, the descriptor and the count.
    static func inlineArrayElement(of type: Any.Type) -> Any.Type {
        unsafe Self.type(unsafeBitCast(type, to: UnsafeRawPointer.self), at: 24)
    }

    private static func description(_ metadata: UnsafeRawPointer) -> UnsafeRawPointer {
        unsafe metadata.load(fromByteOffset: 8, as: UnsafeRawPointer.self)
    }

    private static func type(_ metadata: UnsafeRawPointer, at offset: Int) -> Any.Type {
        // A pointer to metadata is the value of a metatype.
        unsafe unsafeBitCast(metadata.load(fromByteOffset: offset, as: UnsafeRawPointer.self), to: Any.Type.self)
    }
}
