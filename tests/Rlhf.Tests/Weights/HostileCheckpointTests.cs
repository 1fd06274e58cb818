using System.Buffers.Binary;
using System.Text;
using CsCheck;
using Rlhf.Weights;
using Rlhf.Weights.PyTorch;
using static TorchSharp.torch;

namespace Rlhf.Tests.Weights;

/// <summary>Whatever a file holds, a loader answers with tensors or with one of the documented exceptions.</summary>
public sealed class HostileCheckpointTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static readonly ScalarType[] Types =
    [
        ScalarType.Bool, ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Int32, ScalarType.Int64,
        ScalarType.Float16, ScalarType.BFloat16, ScalarType.Float32, ScalarType.Float64, ScalarType.ComplexFloat32,
    ];

    [Fact]
    public void WhatIsSavedIsLoaded()
    {
        var described = Gen.Select(Gen.Int[0, Types.Length - 1].Select(i => Types[i]), Gen.Long[0, 4].Array[0, 4], Gen.Int);
        var path = Path.Combine(folder.Path, "t.safetensors");
        Gen.Select(Gen.String, described).Array[0, 6].Sample(entries =>
        {
            using var scope = NewDisposeScope();
            var tensors = new Dictionary<string, Tensor>();
            foreach (var (name, (type, shape, seed)) in entries)
                if (name != "__metadata__" && !name.Any(char.IsSurrogate))
                    tensors[name] = Filled(type, shape, seed);

            SafeTensors.Save(path, tensors);
            var loaded = SafeTensors.Load(path);

            Assert.Equal(tensors.Keys.Order(StringComparer.Ordinal), loaded.Keys.Order(StringComparer.Ordinal));
            foreach (var (name, tensor) in tensors)
            {
                Assert.Equal(tensor.dtype, loaded[name].dtype);
                Assert.Equal(tensor.shape, loaded[name].shape);
                if (tensor.numel() > 0)
                    Assert.Equal(tensor.bytes.ToArray(), loaded[name].bytes.ToArray());
            }
        }, iter: 40, threads: 1);
    }

    private static Tensor Filled(ScalarType type, long[] shape, int seed)
    {
        var tensor = empty(shape, type);
        if (tensor.numel() == 0)
            return tensor;
        var bytes = new byte[tensor.numel() * tensor.ElementSize];
        new Random(seed).NextBytes(bytes);
        tensor.bytes = type == ScalarType.Bool ? Array.ConvertAll(bytes, b => (byte)(b & 1)) : bytes;
        return tensor;
    }

    [Theory]
    [InlineData("safetensors-bad", "ok-f16-bf16.safetensors")]
    [InlineData("safetensors-bad", "ok-metadata.safetensors")]
    [InlineData("pytorch-bin", "odd.expected.safetensors")]
    [InlineData("pytorch-bin", "odd.zip.bin")]
    [InlineData("pytorch-bin", "odd.legacy.bin")]
    public void DamageNeverEscapes(string group, string file)
    {
        var valid = File.ReadAllBytes(Fixtures.Path(group, file));
        var path = Path.Combine(folder.Path, file);
        var damage = Gen.Select(Gen.Int[0, valid.Length - 1], Gen.Byte).Array[1, 4];
        Gen.Select(damage, Gen.Int[0, valid.Length], Gen.Int[0, 5]).Sample((changes, length, cut) =>
        {
            var bytes = (byte[])valid.Clone();
            foreach (var (place, value) in changes)
                bytes[place] = value;
            File.WriteAllBytes(path, cut == 0 ? bytes[..length] : bytes);
            LoadsOrRefuses(path);
        }, iter: 400, threads: 1);
    }

    [Theory]
    [InlineData("t.safetensors")]
    [InlineData("t.bin")]
    public void NoiseNeverEscapes(string file)
    {
        var path = Path.Combine(folder.Path, file);
        Gen.Byte.Array[0, 200].Sample(bytes =>
        {
            File.WriteAllBytes(path, bytes);
            LoadsOrRefuses(path);
        }, iter: 200, threads: 1);
    }

    private static void LoadsOrRefuses(string path)
    {
        using var scope = NewDisposeScope();
        try
        {
            using var weights = WeightFiles.OpenFile(path);
            weights.ReadAll();
        }
        catch (InvalidDataException e)
        {
            Assert.Contains(path, e.Message);
        }
    }

    [Fact]
    public void RandomPickleOperationsNeverEscape()
    {
        // Operations that carry meaning, many of them in a row: deeper than damage to a valid pickle reaches.
        var operations = new[]
        {
            "(", "0", "1", "2", "N", "\u0088", "\u0089", "K\u0001", "K\u0000", "]", "}", ")", "l", "d", "t", "a", "e", "s", "u",
            "b", "R", "Q", "\u0081", "\u0085", "\u0086", "\u0087", "q\u0000", "h\u0000", "q\u0001", "h\u0001",
            "\u0094", "\u008f", "\u0090", "\u0091", "\u0093",
            "X\u0007\u0000\u0000\u0000storage", "X\u0001\u0000\u0000\u00000",
            "ccollections\nOrderedDict\n", "ctorch\nFloatStorage\n",
            "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch._utils\n_rebuild_parameter\n",
            "I5\n", "L7L\n", "F1.5\n", "S'x'\n", "p2\n", "g2\n",
        };
        Gen.Int[0, operations.Length - 1].Select(i => operations[i]).Array[0, 60].Sample(program =>
        {
            var bytes = Encoding.Latin1.GetBytes(string.Concat(program) + ".");
            try
            {
                RestrictedUnpickler.Run(new PickleInput(new MemoryStream(bytes), "p", bytes.Length));
            }
            catch (InvalidDataException e)
            {
                Assert.StartsWith("p: ", e.Message);
            }
        }, iter: 20_000, threads: 1);
    }

    /// <summary>('storage', FloatStorage, 'k', 'cpu', 4): a storage of four floats.</summary>
    private const string Storage = "(U\u0007storagectorch\nFloatStorage\nU\u0001kU\u0003cpuK\u0004tQ";

    private static string TensorOf(string storage, string offset, string shape, string strides) =>
        $"ctorch._utils\n_rebuild_tensor_v2\n({storage}{offset}{shape}{strides}\u0089}}tR";

    /// <summary>A file in the older form that holds the object of a pickle and one storage of the floats 1, 2, 3, 4.</summary>
    private string Legacy(string pickle)
    {
        var bytes = new List<byte>();
        bytes.AddRange([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.']);
        bytes.AddRange(Encoding.Latin1.GetBytes("\u0080\u0002M\u00e9\u0003."));
        bytes.AddRange(Encoding.Latin1.GetBytes("\u0080\u0002}."));
        bytes.AddRange(Encoding.Latin1.GetBytes(pickle + "."));
        bytes.AddRange(Encoding.Latin1.GetBytes("]U\u0001ka."));
        var data = new byte[8 + 16];
        data[0] = 4;
        for (var i = 0; i < 4; i++)
            BinaryPrimitives.WriteSingleLittleEndian(data.AsSpan(8 + 4 * i), i + 1);
        bytes.AddRange(data);
        var path = Path.Combine(folder.Path, "made.bin");
        File.WriteAllBytes(path, [.. bytes]);
        return path;
    }

    [Fact]
    public void AMadeFileOfTheOlderFormLoads()
    {
        using var scope = NewDisposeScope();
        // Columns of the 2 x 2 matrix, and the second half through a view of the storage, as the oldest files have it.
        var view = Storage[..^2] + "(U\u0001vK\u0002K\u0002ttQ";
        using var bin = PyTorchBin.Open(Legacy(
            "}(U\u0001t" + TensorOf(Storage, "K\u0000", "K\u0002K\u0002\u0086", "K\u0001K\u0002\u0086") +
            "U\u0001v" + TensorOf(view, "K\u0000", "K\u0002\u0085", "K\u0001\u0085") + "U\u0004stepK\u0007u"));

        var loaded = bin.ReadAll();
        Assert.Equal(["t", "v"], loaded.Keys.Order());
        Assert.Equal([1f, 3f, 2f, 4f], loaded["t"].data<float>().ToArray());
        Assert.Equal([3f, 4f], loaded["v"].data<float>().ToArray());
    }

    [Theory]
    [InlineData("K\u0000", "K\u0005\u0085", "K\u0001\u0085", "past the 4 elements")]
    [InlineData("K\u0002", "K\u0003\u0085", "K\u0001\u0085", "past the 4 elements")]
    [InlineData("K\u0000", "K\u0002\u0085", "K\u0004\u0085", "past the 4 elements")]
    [InlineData("K\u0000", "K\u0002\u0085", "J\u00ff\u00ff\u00ff\u00ff\u0085", "whole number")] // stride -1
    [InlineData("J\u00ff\u00ff\u00ff\u00ff", "K\u0001\u0085", "K\u0001\u0085", "past the 4 elements")] // offset -1
    [InlineData("K\u0000", "K\u0002\u0085", "K\u0001K\u0001\u0086", "strides")]
    // 2^48 elements expanded from one, 2^62 expanded from one, and 2^62 x 2 with strides 2^62 and 1.
    [InlineData("K\u0000", "\u008a\u0007\0\0\0\0\0\0\u0001\u0085", "K\u0000\u0085", "far more than the file")]
    [InlineData("K\u0000", "\u008a\u0008\0\0\0\0\0\0\0\u0040\u0085", "K\u0000\u0085", "too large")]
    [InlineData("K\u0000", "\u008a\u0008\0\0\0\0\0\0\0\u0040K\u0002\u0086",
        "\u008a\u0008\0\0\0\0\0\0\0\u0040K\u0001\u0086", "past the 4 elements")]
    public void TensorsBeyondTheirStorageAreRefused(string offset, string shape, string strides, string why)
    {
        var path = Legacy("}U\u0001w" + TensorOf(Storage, offset, shape, strides) + "s");
        var refusal = Assert.Throws<InvalidDataException>(() => PyTorchBin.Open(path));
        Assert.Contains(why, refusal.Message);
    }

    [Fact]
    public void SharingWithoutEndCostsNothing()
    {
        // Each list holds the one before twice: 2^200 leaves if anyone looked into it.
        var nest = "]q\u0000" + string.Concat(Enumerable.Repeat("](h\u0000h\u0000eq\u0000", 200));
        var tensor = TensorOf(Storage, "K\u0000", "K\u0004\u0085", "K\u0001\u0085");
        using var bin = PyTorchBin.Open(Legacy("}(U\u0001x" + nest + "U\u0001w" + tensor + "u"));
        Assert.Equal(["w"], bin.Names);
    }

    [Fact]
    public void CopyingOneListAgainAndAgainIsStopped()
    {
        var list = "](" + string.Concat(Enumerable.Repeat("NN\u0086", 2000)) + "eq\u00000";
        var copies = string.Concat(Enumerable.Repeat("ccollections\nOrderedDict\nh\u0000\u0085R0", 6000));
        var refusal = Assert.Throws<InvalidDataException>(() => PyTorchBin.Open(Legacy(list + copies + "}")));
        Assert.Contains("operations", refusal.Message);
    }

    [Fact]
    public void OneDictUnderManyKeysIsLookedAtOnce()
    {
        var tensor = TensorOf(Storage, "K\u0000", "K\u0004\u0085", "K\u0001\u0085");
        var items = string.Concat(Enumerable.Range(0, 20_000).Select(i => $"U\u0005{i:d5}h\u0001"));
        var keys = string.Concat(Enumerable.Range(0, 20_000).Select(i => $"U\u0005{i:d5}h\u0000"));
        using var bin = PyTorchBin.Open(Legacy($"{tensor}q\u00010}}({items}uq\u00000}}({keys}u"));
        Assert.Equal(20_000, bin.Names.Count);
    }

    [Theory]
    [InlineData("ctorch._utils\n_rebuild_tensor_v2\n)R", "arguments that torch does not write")]
    [InlineData("ctorch\nload\n", "torch.load")]
    [InlineData("cnumpy.core.multiarray\n_reconstruct\n", "numpy.core.multiarray._reconstruct")]
    [InlineData("U\u0002osU\u0006system\u0093", "os.system")] // STACK_GLOBAL
    [InlineData("ios\nsystem\n", "os.system")] // INST
    [InlineData("\u0082\u0001", "0x82")] // EXT1
    [InlineData("]ccollections\nOrderedDict\n)\u0081", "0x81")] // NEWOBJ
    [InlineData("\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff", "longer")] // text of 2^64 - 1 bytes
    [InlineData("X\u00ff\u00ff\u00ff\u0002", "more than the file has")] // text of 48 MiB
    [InlineData("h\u0009", "never kept")]
    [InlineData("t", "no mark")]
    [InlineData(Storage + "0]", "does not hold a state dict")]
    [InlineData(Storage + "0}K\u0001K\u0002s", "without tensors")]
    public void AnythingElseIsRefusedWithItsName(string pickle, string why)
    {
        var refusal = Assert.Throws<InvalidDataException>(() => PyTorchBin.Open(Legacy(pickle)));
        Assert.Contains(why, refusal.Message);
    }
}
