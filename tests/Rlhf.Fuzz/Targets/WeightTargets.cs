using System.Buffers.Binary;
using System.Text;
using Rlhf.Weights;
using Rlhf.Weights.PyTorch;

namespace Rlhf.Fuzz;

/// <summary>safetensors with its index, and PyTorch's files in both forms.</summary>
internal static class WeightTargets
{
    private const string Name = FuzzTarget.FileName;

    /// <summary>('storage', FloatStorage, 'k', 'cpu', 4): a storage of four floats.</summary>
    private const string Storage = "(U\u0007storagectorch\nFloatStorage\nU\u0001kU\u0003cpuK\u0004tQ";

    private const string Tensor = "ctorch._utils\n_rebuild_tensor_v2\n(" + Storage
        + "K\0K\u0002K\u0002\u0086K\u0002K\u0001\u0086\u0089}tR";

    private static readonly byte[][] Pickles = AllTargets.Latin1(
        "\u0080\u0002}q\0X\u0001\0\0\0wq\u0001" + Tensor + "s.",
        "\u0080\u0004\u0095\u0010\0\0\0\0\0\0\0\u008c\u000bcollections\u0094\u008c\u000bOrderedDict\u0094\u0093)R(\u008c\u0001w"
        + Tensor + "u.",
        "(dp0\nS'w'\np1\n" + Tensor + "sS'n'\nI5\nsS'f'\nF1.5\nsV\u0041\nL7L\ns.",
        "\u0080\u0002ccollections\nOrderedDict\n]U\u0001w" + Tensor + "\u0086a\u0085R}U\tstate_dicth\0sb.",
        "\u0080\u0002}(U\nstate_dict}U\u0001w" + Tensor + "sU\u0005epochK\u0003u.",
        "\u0080\u0002}U\u0001wctorch._utils\n_rebuild_parameter\n(" + Tensor + "\u0088}tRs.",
        "]q\0(h\0h\0eh\0aN\u0088\u0089M\u0001\u0001J\u0001\0\0\0\u008a\u0002\u0001\u0001G\0\0\0\0\0\0\0\0C\u0001xB\u0001\0\0\0y"
            + "(\u0091\u008f(\u0090.");

    private static readonly byte[][] PickleTokens = AllTargets.Latin1(
        "(", "0", "1", "2", "N", "\u0088", "\u0089", "K\u0001", "M\u00ff\u00ff", "J\u00ff\u00ff\u00ff\u00ff", "]", "}", ")", "l",
        "d", "t", "a",
        "e", "s", "u", "b", "R", "Q", ".", "\u0081", "\u0085", "\u0086", "\u0087", "q\0", "h\0", "r\0\0\0\0", "j\0\0\0\0",
        "\u0094", "\u008f", "\u0090",
        "\u0091", "\u0093", "\u0095\0\0\0\0\0\0\0\0", "\u008a\u0009\0\0\0\0\0\0\0\0\u0080",
        "\u008b\u0004\0\0\0\u00ff\u00ff\u00ff\u00ff", "X\u0001\0\0\0w",
        "U\u0001w", "\u008c\u0001w", "\u008d\u0001\0\0\0\0\0\0\0w", "B\u0001\0\0\0w", "C\u0001w", "\u008e\u0001\0\0\0\0\0\0\0w",
        "S'w'\n", "Vw\n",
        "I5\n", "I01\n", "L7L\n", "F1e999\n", "G\u007f\u00f0\0\0\0\0\0\0", "p2\n", "g2\n", "ccollections\nOrderedDict\n",
        "ctorch\nFloatStorage\n",
        "ctorch\nByteStorage\n", "ctorch._utils\n_rebuild_tensor\n", "ctorch._utils\n_rebuild_tensor_v2\n",
        "ctorch._utils\n_rebuild_parameter\n", "cos\nsystem\n", "c__builtin__\neval\n", "ios\nsystem\n", "U\u0007storage",
        Storage, Tensor,
        "\u0080\u0002");

    public static IEnumerable<FuzzTarget> Make(Scratch scratch)
    {
        var refused = typeof(InvalidDataException);
        yield return new("safetensors-header", Header,
            [.. HeaderSeeds().Select(seed => (byte[])[.. BitConverter.GetBytes(16u), .. seed])],
            AllTargets.Json("\"dtype\":\"F32\"", "\"shape\":[", "\"data_offsets\":[0,16]", "\"__metadata__\":{", "\"F4\"",
                "\"BF16\"",
                "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"), refused);
        yield return new("safetensors-file", input => File(scratch.Write(Name + ".safetensors", input), input.Length),
            [.. HeaderSeeds().Select(seed => (byte[])[.. BitConverter.GetBytes((long)seed.Length), .. seed, .. new byte[16]])],
            AllTargets.Json("\"dtype\":\"F32\"", "\"shape\":[4]", "\"data_offsets\":[0,16]"), refused);
        yield return new("weights-index", input => ShardedWeights.ParseMap(input, Name),
            AllTargets.Bytes("""{"metadata":{"total_size":4},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"""),
            AllTargets.Json("\"weight_map\"", "\"../x\""), refused);
        yield return new("pickle", Pickle, Pickles, PickleTokens, refused);
        yield return new("torch-legacy", Legacy, [.. Pickles.Select(LegacyFile)], PickleTokens, refused);
        yield return new("torch-zip", input => Zip(scratch.Write(Name + ".bin", input), input.Length),
            [.. Pickles.Select(ZipFile)],
            [.. PickleTokens, .. AllTargets.Latin1("PK\u0001\u0002", "PK\u0003\u0004", "PK\u0005\u0006", "PK\u0006\u0006",
            "PK\u0006\u0007",
                "a/data.pkl", "a/data/k", "a/byteorder", "little", "\u0001\0\u0010\0")], refused);
    }

    private static byte[][] HeaderSeeds() => AllTargets.Bytes(
        "{}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}",
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
            + "\"b\":{\"data_offsets\":[8,16],\"dtype\":\"BF16\",\"shape\":[4]}}  ",
        "{\"a\":{\"dtype\":\"F4\",\"shape\":[32],\"data_offsets\":[0,16],\"more\":{\"x\":[1]}},"
            + "\"e\":{\"dtype\":\"BOOL\",\"shape\":[0,9],\"data_offsets\":[16,16]}}");

    private static void Header(byte[] input)
    {
        long length = input.Length < 4 ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(input);
        var header = SafeTensorsHeader.Parse(input.AsSpan(Math.Min(4, input.Length)), length, Name);
        ulong end = 0;
        foreach (var tensor in header.Tensors.Values.OrderBy(t => t.Begin).ThenBy(t => t.End))
        {
            WrongResultException.Unless(tensor.Begin == end && tensor.End <= (ulong)length, "tensors overlap or leave the data");
            end = tensor.End;
        }
    }

    private static void File(string path, long length)
    {
        using var file = SafeTensorsFile.Open(path);
        RequireBounds(file, length);
    }

    private static void Zip(string path, long length)
    {
        using var file = PyTorchBin.Open(path);
        RequireBounds(file, length);
    }

    /// <summary>What the tensors would take is in proportion to the file.</summary>
    private static void RequireBounds(IWeightSource source, long length)
    {
        Int128 bytes = 0;
        foreach (var name in source.Names)
        {
            try
            {
                Int128 width = Untrusted.Width(source.ElementType(name));
                bytes += source.Shape(name).Aggregate(width, (product, size) => product * size);
            }
            catch (InvalidDataException)
            {
                // an element type or a shape that libtorch has not
            }
        }
        WrongResultException.Unless(bytes <= 8 * (Int128)length + (1 << 30),
            "tensors take far more memory than the file has bytes");
    }

    private static void Pickle(byte[] input)
    {
        var (value, storages) = RestrictedUnpickler.Run(new PickleInput(new MemoryStream(input), Name, input.Length));
        foreach (var tensor in StateDict.Find(Name, value).Values)
            RequireInside(tensor, storages[tensor.Storage.Key]);
    }

    private static void Legacy(byte[] input)
    {
        var content = TorchLegacy.Read(new MemoryStream(input), Name);
        foreach (var tensor in StateDict.Find(Name, content.Root).Values)
        {
            RequireInside(tensor, tensor.Storage);
            var end = content.StorageStarts[tensor.Storage.Key]
                + (Int128)tensor.Storage.Elements * Untrusted.Width(tensor.Storage.Type);
            WrongResultException.Unless(end <= input.Length, "a storage ends behind the file");
        }
    }

    private static void RequireInside(PickledTensor tensor, PickledStorage storage)
    {
        if (tensor.Shape.Contains(0))
            return;
        Int128 last = tensor.Offset;
        for (int i = 0; i < tensor.Shape.Length; i++)
            last += (Int128)(tensor.Shape[i] - 1) * tensor.Strides[i];
        WrongResultException.Unless(tensor.Offset >= 0 && last < storage.Elements, "a tensor ends behind its storage");
    }

    private static byte[] LegacyFile(byte[] pickle) =>
    [
        0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.',
        .. Encoding.Latin1.GetBytes("\u0080\u0002M\u00e9\u0003.\u0080\u0002}U\rlittle_endian\u0088s."), .. pickle,
        .. "]U\u0001ka."u8, 4, 0, 0, 0, 0, 0, 0, 0, .. new byte[16],
    ];

    /// <summary>A zip file without compression, as torch.save writes it.</summary>
    private static byte[] ZipFile(byte[] pickle)
    {
        var file = new MemoryStream();
        var directory = new MemoryStream();
        (string Name, byte[] Content)[] members =
            [("a/data.pkl", pickle), ("a/byteorder", "little"u8.ToArray()), ("a/data/k", new byte[16])];
        foreach (var (name, content) in members)
        {
            var sizes = (byte[])[.. BitConverter.GetBytes(content.Length), .. BitConverter.GetBytes(content.Length)];
            var lengths = (byte[])[.. BitConverter.GetBytes((ushort)name.Length), 0, 0];
            directory.Write([.. "PK\u0001\u0002"u8, .. new byte[16], .. sizes, .. lengths, .. new byte[10],
                .. BitConverter.GetBytes((uint)file.Position), .. Encoding.ASCII.GetBytes(name)]);
            file.Write([.. "PK\u0003\u0004"u8, .. new byte[14], .. sizes, .. lengths, .. Encoding.ASCII.GetBytes(name),
                .. content]);
        }
        var start = BitConverter.GetBytes((uint)file.Position);
        file.Write(directory.ToArray());
        file.Write([.. "PK\u0005\u0006"u8, 0, 0, 0, 0, 3, 0, 3, 0, .. BitConverter.GetBytes((uint)directory.Length), .. start, 0,
            0]);
        return file.ToArray();
    }
}
