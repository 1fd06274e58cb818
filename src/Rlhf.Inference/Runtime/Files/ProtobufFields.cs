using System.Text;
using Google.Protobuf;

namespace Rlhf.Runtime.Files;

/// <summary>Fields of protobuf messages, written by number.</summary>
internal static class ProtobufFields
{
    public static byte[] Message(Action<CodedOutputStream> fields)
    {
        using var memory = new MemoryStream();
        using (var output = new CodedOutputStream(memory, leaveOpen: true))
            fields(output);
        return memory.ToArray();
    }

    public static void Nested(CodedOutputStream output, int field, byte[] message)
    {
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(UnsafeByteOperations.UnsafeWrap(message));
    }

    /// <summary>Text as UTF-8; half a surrogate pair becomes a replacement character.</summary>
    public static void Text(CodedOutputStream output, int field, string text) => Nested(output, field, Encoding.UTF8.GetBytes(text));

    public static void Integer(CodedOutputStream output, int field, long value)
    {
        output.WriteTag(field, WireFormat.WireType.Varint);
        output.WriteInt64(value);
    }

    public static void Number(CodedOutputStream output, int field, double value)
    {
        output.WriteTag(field, WireFormat.WireType.Fixed64);
        output.WriteDouble(value);
    }
}
