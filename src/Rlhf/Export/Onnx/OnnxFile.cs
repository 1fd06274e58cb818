using System.Globalization;
using Google.Protobuf;
using Rlhf.Models.Onnx;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Weights;
using static Rlhf.Runtime.Files.ProtobufFields;
using static TorchSharp.torch;

namespace Rlhf.Export.Onnx;

/// <summary>
/// Writes a graph as an ONNX file: the messages of onnx.proto field by field, and the weights one after another without holding a second
/// copy of the model. Weights of a file that would reach protobuf's limit of 2 GiB go into a file beside it.
/// </summary>
/// <seealso href="https://github.com/onnx/onnx/blob/main/onnx/onnx.proto"/>
/// <seealso href="https://github.com/onnx/onnx/blob/main/docs/ExternalData.md"/>
internal static class OnnxFile
{
    /// <summary>Most bytes of one protobuf message.</summary>
    public const long MostBytes = int.MaxValue;

    /// <summary>What the name of the file of weights adds to the model's.</summary>
    public const string DataEnding = ".data";

    /// <summary>Weights in a file of their own begin at multiples of a page, so that programs can map them; smaller ones stay in the model.</summary>
    private const int Page = 4096, SmallestOutside = 1024;

    /// <summary>Elements transposed at once.</summary>
    private const long ElementsAtOnce = 4 << 20;

    // Fields of the messages.
    private const int ModelIrVersion = 1, ModelProducer = 2, ModelGraph = 7, ModelOpset = 8, ModelMetadata = 14, OpsetVersion = 2;
    private const int GraphNode = 1, GraphName = 2, GraphInitializer = 5, GraphInput = 11, GraphOutput = 12;
    private const int NodeInput = 1, NodeOutput = 2, NodeName = 3, NodeOperator = 4, NodeAttribute = 5;
    private const int AttributeName = 1, AttributeFloat = 2, AttributeInt = 3, AttributeString = 4, AttributeInts = 8, AttributeType = 20;
    private const int TensorDims = 1, TensorType = 2, TensorName = 8, TensorRaw = 9, TensorExternal = 13, TensorLocation = 14;
    private const int EntryKey = 1, EntryValue = 2, ExternalLocation = 1;
    private const int PortName = 1, PortType = 2, TypeTensor = 1, TypeElement = 1, TypeShape = 2, ShapeDim = 1, DimValue = 1, DimName = 2;

    // Values of AttributeProto.AttributeType.
    private const int FloatAttribute = 1, IntAttribute = 2, StringAttribute = 3, IntsAttribute = 7;

    /// <summary>Writes the file, and the one of its weights where they do not fit into it.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="graph">The graph.</param>
    /// <param name="metadata">Texts about the model.</param>
    /// <param name="mostBytes">Size from which on weights go into a file of their own.</param>
    /// <returns>Bytes of the files.</returns>
    /// <exception cref="ConfigurationException">A weight is too large for float16.</exception>
    /// <exception cref="IOException">The disk is full, or a file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static long Write(string path, OnnxGraph graph, IReadOnlyDictionary<string, string> metadata, long mostBytes = MostBytes)
    {
        string data = path + DataEnding;
        var head = Message(output =>
        {
            Integer(output, ModelIrVersion, OnnxGraph.FormatVersion);
            Text(output, ModelProducer, "Rlhf");
            Nested(output, ModelOpset, Message(opset => Integer(opset, OpsetVersion, OnnxGraph.Opset)));
            foreach (var (key, value) in metadata)
                Nested(output, ModelMetadata, Entry(key, value));
        });
        var nodes = Message(output =>
        {
            foreach (var node in graph.Nodes)
                Nested(output, GraphNode, Node(node));
            Text(output, GraphName, "model");
            foreach (var port in graph.Inputs)
                Nested(output, GraphInput, Port(port));
            foreach (var port in graph.Outputs)
                Nested(output, GraphOutput, Port(port));
        });
        var items = Arrange(graph.Initializers, null);
        bool isSplit = Total() > mostBytes;
        if (isSplit)
            items = Arrange(graph.Initializers, Path.GetFileName(data));
        long total = Total(), outside = items.LastOrDefault(i => i.Offset is not null) is { } last ? last.Offset!.Value + last.Initializer.Bytes : 0;
        if (total > MostBytes)
            throw new ConfigurationException([$"The ONNX file would have {total:N0} bytes without its large weights, more than the {MostBytes:N0} that one can have."]);
        try
        {
            if (isSplit)
                AtomicFile.Write(data, WriteOutside, outside);
            AtomicFile.Write(path, WriteModel, total);
        }
        catch (ArgumentException e) // a value that float16 cannot hold
        {
            throw new ConfigurationException([$"{e.Message.TrimEnd('.')}; ONNX files are written as float32 or float16, so choose float32."]);
        }
        if (!isSplit)
            File.Delete(data); // of a larger model that had this name
        return total + outside;

        long GraphBytes() => nodes.Length + items.Sum(i => Field(GraphInitializer, i.Bytes).Length + i.Bytes);
        long Total() => GraphBytes() is var bytes ? head.Length + Field(ModelGraph, bytes).Length + bytes : 0;

        void WriteModel(Stream stream)
        {
            stream.Write(head);
            stream.Write(Field(ModelGraph, GraphBytes()));
            stream.Write(nodes);
            foreach (var item in items)
            {
                stream.Write(Field(GraphInitializer, item.Bytes));
                stream.Write(item.Header);
                if (item.Offset is null)
                    WriteElements(stream, item.Initializer);
            }
        }

        void WriteOutside(Stream stream)
        {
            foreach (var item in items.Where(i => i.Offset is not null))
            {
                stream.Write(new byte[item.Offset!.Value - stream.Position]);
                WriteElements(stream, item.Initializer);
            }
        }
    }

    /// <summary>An initializer, what comes before its elements in its message, and where in the other file they are; null: in the message.</summary>
    private sealed record Item(OnnxInitializer Initializer, byte[] Header, long? Offset)
    {
        /// <summary>Bytes of the message.</summary>
        public long Bytes => Header.Length + (Offset is null ? Initializer.Bytes : 0);
    }

    private static Item[] Arrange(IReadOnlyList<OnnxInitializer> initializers, string? dataName)
    {
        long end = 0;
        return [.. initializers.Select(initializer =>
        {
            if (dataName is null || initializer.Weight is null || initializer.Bytes < SmallestOutside)
                return new Item(initializer, Header(initializer, null, 0), null);
            long offset = (end + Page - 1) / Page * Page;
            end = offset + initializer.Bytes;
            return new Item(initializer, Header(initializer, dataName, offset), offset);
        })];
    }

    private static byte[] Header(OnnxInitializer initializer, string? dataName, long offset)
    {
        var description = Message(output =>
        {
            foreach (long dimension in initializer.Shape)
                Integer(output, TensorDims, dimension);
            Integer(output, TensorType, (int)initializer.Type);
            Text(output, TensorName, initializer.Name);
            if (dataName is null)
                return;
            Nested(output, TensorExternal, Entry("location", dataName));
            Nested(output, TensorExternal, Entry("offset", offset.ToString(CultureInfo.InvariantCulture)));
            Nested(output, TensorExternal, Entry("length", initializer.Bytes.ToString(CultureInfo.InvariantCulture)));
            Integer(output, TensorLocation, ExternalLocation);
        });
        return dataName is null ? [.. description, .. Field(TensorRaw, initializer.Bytes)] : description;
    }

    private static void WriteElements(Stream stream, OnnxInitializer initializer)
    {
        if (initializer.Constant is { } constant)
        {
            stream.Write(constant);
            return;
        }
        var weight = initializer.Weight!;
        var type = initializer.Type == OnnxType.Float16 ? ScalarType.Float16 : ScalarType.Float32;
        if (!initializer.IsTransposed)
        {
            TensorMemory.Write(stream, initializer.Name, weight, type);
            return;
        }
        using var noGrad = no_grad();
        long outputs = weight.shape[0], inputs = weight.shape[1], rows = Math.Max(1, ElementsAtOnce / outputs);
        for (long start = 0; start < inputs; start += rows)
        {
            using var scope = NewDisposeScope();
            TensorMemory.Write(stream, initializer.Name, weight.detach().narrow(1, start, Math.Min(rows, inputs - start)).t(), type);
        }
    }

    private static byte[] Node(OnnxNode node) => Message(output =>
    {
        foreach (var value in node.Inputs)
            Text(output, NodeInput, value.Name);
        foreach (var value in node.Outputs)
            Text(output, NodeOutput, value.Name);
        Text(output, NodeName, node.Outputs[0].Name);
        Text(output, NodeOperator, node.Operator);
        foreach (var attribute in node.Attributes)
            Nested(output, NodeAttribute, Attribute(attribute));
    });

    private static byte[] Attribute(OnnxAttribute attribute) => Message(output =>
    {
        Text(output, AttributeName, attribute.Name);
        switch (attribute.Value)
        {
            case float number:
                output.WriteTag(AttributeFloat, WireFormat.WireType.Fixed32);
                output.WriteFloat(number);
                Integer(output, AttributeType, FloatAttribute);
                break;
            case long number:
                Integer(output, AttributeInt, number);
                Integer(output, AttributeType, IntAttribute);
                break;
            case string text:
                Text(output, AttributeString, text);
                Integer(output, AttributeType, StringAttribute);
                break;
            case long[] numbers:
                foreach (long number in numbers)
                    Integer(output, AttributeInts, number);
                Integer(output, AttributeType, IntsAttribute);
                break;
            default:
                throw new ArgumentException($"Attribute {attribute.Name} is a {attribute.Value.GetType().Name}.");
        }
    });

    private static byte[] Port(OnnxPort port) => Message(output =>
    {
        Text(output, PortName, port.Name);
        Nested(output, PortType, Message(type => Nested(type, TypeTensor, Message(tensor =>
        {
            Integer(tensor, TypeElement, (int)port.Type);
            Nested(tensor, TypeShape, Message(shape =>
            {
                foreach (object dimension in port.Dimensions)
                    Nested(shape, ShapeDim, Message(one =>
                    {
                        if (dimension is string name)
                            Text(one, DimName, name);
                        else
                            Integer(one, DimValue, (long)dimension);
                    }));
            }));
        }))));
    });

    private static byte[] Entry(string key, string value) => Message(output =>
    {
        Text(output, EntryKey, key);
        Text(output, EntryValue, value);
    });

    /// <summary>What comes before a field of so many bytes.</summary>
    private static byte[] Field(int number, long bytes) => Message(output =>
    {
        output.WriteTag(number, WireFormat.WireType.LengthDelimited);
        output.WriteUInt64((ulong)bytes);
    });
}
