using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Weights;

public sealed class ReadIntoTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private SafeTensorsFile Saved(Tensor tensor)
    {
        var path = Path.Combine(folder.Path, "t.safetensors");
        SafeTensors.Save(path, [new("w", tensor)]);
        return SafeTensorsFile.Open(path);
    }

    [Theory]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void FloatingPointTypesConvertAcrossChunks(ScalarType stored)
    {
        // 2^22 elements are converted at once, so this takes two rounds; whole numbers up to 127 are exact in every type.
        var values = arange((1 << 22) + 1000).remainder(127).to(stored);
        using var file = Saved(values);
        var parameter = nn.Parameter(empty((1 << 22) + 1000));

        file.ReadInto("w", parameter);

        Assert.True(parameter.equal(values.to(float32)).all().item<bool>());
        Assert.True(parameter.requires_grad);
        Assert.True(parameter.is_leaf);
    }

    [Fact]
    public void DestinationsNeedNotBeContiguous()
    {
        var values = arange(6, float32).view(2, 3);
        using var file = Saved(values);
        var destination = zeros(3, 2).t();

        file.ReadInto("w", destination);

        Assert.True(destination.equal(values).all().item<bool>());
    }

    [Fact]
    public void WrongShapesTypesAndNamesAreSaid()
    {
        using var file = Saved(ones(2, 3));

        var shape = Assert.Throws<InvalidDataException>(() => file.ReadInto("w", empty(3, 2)));
        Assert.Contains("'w' has shape [2, 3], but the model expects [3, 2]", shape.Message);
        var type = Assert.Throws<InvalidDataException>(() => file.ReadInto("w", empty(2, 3, int64)));
        Assert.Contains("Float32", type.Message);
        Assert.Contains("'x'", Assert.Throws<KeyNotFoundException>(() => file.ReadInto("x", empty(1))).Message);
    }

    [Fact]
    public void AFileThatShrankIsSaid()
    {
        using var file = Saved(ones(1000));
        using (var shorten = new FileStream(file.Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            shorten.SetLength(shorten.Length - 10);

        var refusal = Assert.Throws<InvalidDataException>(() => file.ReadInto("w", empty(1000)));
        Assert.Contains("'w'", refusal.Message);
    }

    [Fact]
    public void BoolsAreZeroOrOneWhateverTheFileHolds()
    {
        var path = Path.Combine(folder.Path, "t.safetensors");
        SafeTensors.Save(path, [new("w", tensor([false, true, false]))]);
        var bytes = File.ReadAllBytes(path);
        bytes[^1] = 0x82;
        File.WriteAllBytes(path, bytes);

        Assert.Equal(2, SafeTensors.Load(path)["w"].sum().item<long>());
    }

    [Fact]
    public void ReadingAndWritingLeaveNoTensorsBehind()
    {
        using var file = Saved(rand(10, 10));
        var destination = empty(10, 10, float64);
        var transposed = destination.t();
        TestSetup.CollectGarbage();
        var before = Tensor.TotalCount;

        file.ReadInto("w", destination);
        foreach (var tensor in file.ReadAll().Values)
            tensor.Dispose();
        var copy = Path.Combine(folder.Path, "u.safetensors");
        SafeTensors.Save(copy, [new("w", destination), new("v", transposed)], storeAs: ScalarType.BFloat16);

        Assert.Equal(before, Tensor.TotalCount);
    }
}
