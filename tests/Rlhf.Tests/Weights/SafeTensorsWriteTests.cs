using System.Text;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Weights;

public sealed class SafeTensorsWriteTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();
    private readonly Fixtures.TemporaryFolder folder = new();

    private string File => Path.Combine(folder.Path, "t.safetensors");

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private static KeyValuePair<string, Tensor> Named(string name, Tensor tensor) => new(name, tensor);

    [Fact]
    public void BytesAreThoseOfTheFormat()
    {
        SafeTensors.Save(File, [Named("a", tensor([1.5f, -2.5f]))]);

        // 32 characters up to the tensor and 53 from there; with the length field 93, so 3 spaces make 96.
        const string Header = """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   """;
        byte[] length = [88, 0, 0, 0, 0, 0, 0, 0];
        byte[] data = [0x00, 0x00, 0xC0, 0x3F, 0x00, 0x00, 0x20, 0xC0];
        Assert.Equal([.. length, .. Encoding.ASCII.GetBytes(Header), .. data], System.IO.File.ReadAllBytes(File));
    }

    [Theory]
    [InlineData("gpt2-tiny")]
    [InlineData("distilbert-tiny")]
    public void EqualsTheReferenceWriterByteForByte(string model)
    {
        var reference = Path.Combine(Fixtures.Path(model), "model.safetensors");
        WeightFiles.Save(folder.Path, [.. SafeTensors.Load(reference)]);

        var written = Path.Combine(folder.Path, "model.safetensors");
        Assert.Equal(System.IO.File.ReadAllBytes(reference), System.IO.File.ReadAllBytes(written));
    }

    [Fact]
    public void SixteenBitStorageRoundsToNearestEven()
    {
        // Between 1 and 1 + 2^-7, the neighbors in bfloat16, 1 + 2^-8 is a tie and goes to the even 0x3F80;
        // 1 + 3 * 2^-8 is a tie as well and goes up to 0x3F82.
        var weights = tensor([1.5f, 1.00390625f, 1.01171875f]);
        SafeTensors.Save(File, [Named("w", weights), Named("ids", tensor([7L]))], storeAs: ScalarType.BFloat16);

        var bytes = System.IO.File.ReadAllBytes(File);
        Assert.Equal([7, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0x3F, 0x80, 0x3F, 0x82, 0x3F], bytes[^14..]);
        Assert.Equal(ScalarType.Int64, SafeTensors.Load(File)["ids"].dtype);
    }

    [Fact]
    public void FiniteValuesDoNotBecomeInfiniteAndTheOldFileStays()
    {
        SafeTensors.Save(File, [Named("w", tensor([1f]))]);
        var before = System.IO.File.ReadAllBytes(File);

        var refusal = Assert.Throws<ArgumentException>(() =>
            SafeTensors.Save(File, [Named("w", tensor([70000f]))], storeAs: ScalarType.Float16));

        Assert.Contains("'w'", refusal.Message);
        Assert.Equal(before, System.IO.File.ReadAllBytes(File));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void InfinityItselfIsKept()
    {
        SafeTensors.Save(File, [Named("w", tensor([float.NegativeInfinity]))], storeAs: ScalarType.Float16);

        Assert.Equal([0x00, 0xFC], System.IO.File.ReadAllBytes(File)[^2..]);
    }

    [Fact]
    public void TiedTensorsAreWrittenOnceUnderTheFirstName()
    {
        var shared = nn.Parameter(rand(4, 4));

        SafeTensors.Save(File,
        [
            Named("wte", shared), Named("head", shared), Named("alias", shared.alias()),
            Named("transposed", shared.t()), Named("row", shared[1]),
        ]);

        var loaded = SafeTensors.Load(File);
        Assert.Equal(["row", "transposed", "wte"], loaded.Keys.Order());
        Assert.True(loaded["transposed"].allclose(shared.t()));
        Assert.True(loaded["row"].allclose(shared[1]));
    }

    [Fact]
    public void MetadataIsKeptAndGetsTheFormat()
    {
        SafeTensors.Save(File, [], new Dictionary<string, string> { ["step"] = "12", ["text"] = "\"é\n\u4e2d" });

        using var file = SafeTensorsFile.Open(File);
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal("12", file.Metadata["step"]);
        Assert.Equal("\"é\n\u4e2d", file.Metadata["text"]);
        Assert.Empty(file.Names);
    }

    [Fact]
    public void NamesMustBeUsable()
    {
        Assert.Throws<ArgumentException>(() => SafeTensors.Save(File, [Named("a", ones(1)), Named("a", zeros(1))]));
        Assert.Throws<ArgumentException>(() => SafeTensors.Save(File, [Named("__metadata__", ones(1))]));
        Assert.Throws<ArgumentException>(() => SafeTensors.Save(File, [Named("a", ones(1))], storeAs: ScalarType.Int8));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }
}
