using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Weights;

public sealed class WeightFilesTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private string In(string name) => Path.Combine(folder.Path, name);

    [Fact]
    public void AFolderWithoutWeightsIsSaid()
    {
        var refusal = Assert.Throws<FileNotFoundException>(() => WeightFiles.Open(folder.Path));
        Assert.Contains(folder.Path, refusal.Message);
        Assert.Contains("pytorch_model.bin", refusal.Message);
    }

    [Fact]
    public void SafetensorsArePreferredToBin()
    {
        File.WriteAllText(In("pytorch_model.bin"), "not read");
        WeightFiles.Save(folder.Path, [new("w", ones(2))]);

        using var weights = WeightFiles.Open(folder.Path);
        Assert.Equal(["w"], weights.Names);
        Assert.Equal(In("model.safetensors"), weights.Path);
    }

    [Fact]
    public void ShardsAreOne()
    {
        SafeTensors.Save(In("model-00001-of-00002.safetensors"), [new("a", ones(2))]);
        SafeTensors.Save(In("model-00002-of-00002.safetensors"), [new("b", zeros(3, 1))]);
        Index("model", ("a", "model-00001-of-00002.safetensors"), ("b", "model-00002-of-00002.safetensors"));

        using var weights = WeightFiles.Open(folder.Path);
        Assert.Equal(["a", "b"], weights.Names.Order());
        Assert.Equal([3, 1], weights.Shape("b"));
        Assert.Equal(ScalarType.Float32, weights.ElementType("a"));
        Assert.Equal(2, weights.ReadAll()["a"].sum().item<float>());
        Assert.Throws<KeyNotFoundException>(() => weights.Shape("c"));
    }

    [Fact]
    public void ShardsMayBeBins()
    {
        File.Copy(Fixtures.Path("pytorch-bin", "odd.zip.bin"), In("pytorch_model-00001-of-00001.bin"));
        File.WriteAllText(In("pytorch_model.bin.index.json"), """{"weight_map":{"f64":"pytorch_model-00001-of-00001.bin"}}""");

        using var weights = WeightFiles.Open(folder.Path);
        Assert.Equal(ScalarType.Float64, weights.ElementType("f64"));
    }

    [Fact]
    public void AMissingShardIsNamed()
    {
        Index("model", ("a", "model-00001-of-00002.safetensors"));

        var refusal = Assert.Throws<FileNotFoundException>(() => WeightFiles.Open(folder.Path));
        Assert.Contains("model-00001-of-00002.safetensors", refusal.Message);
    }

    [Fact]
    public void ATensorThatIsNotInItsShardIsNamed()
    {
        SafeTensors.Save(In("s.safetensors"), [new("a", ones(2))]);
        Index("model", ("b", "s.safetensors"));

        Assert.Contains("'b'", Assert.Throws<InvalidDataException>(() => WeightFiles.Open(folder.Path)).Message);
    }

    [Theory]
    [InlineData("../secret.safetensors")]
    [InlineData("sub/secret.safetensors")]
    [InlineData("/etc/passwd")]
    [InlineData("..\\\\secret.safetensors")]
    [InlineData("C:secret.safetensors")]
    [InlineData("..")]
    [InlineData("")]
    [InlineData("a\\u0000b")]
    public void AnIndexCannotNameFilesElsewhere(string name)
    {
        Index("model", ("a", name));

        var refusal = Assert.Throws<InvalidDataException>(() => WeightFiles.Open(folder.Path));
        Assert.Contains("weight_map", refusal.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"weight_map":[]}""")]
    [InlineData("""{"weight_map":{"a":1}}""")]
    [InlineData("""{"weight_map":{"a":"\ud800"}}""")]
    public void ADamagedIndexIsRefused(string json)
    {
        File.WriteAllText(In("model.safetensors.index.json"), json);

        Assert.Throws<InvalidDataException>(() => WeightFiles.Open(folder.Path));
    }

    private void Index(string stem, params (string Tensor, string File)[] map)
    {
        var entries = string.Join(",", map.Select(entry => $"\"{entry.Tensor}\":\"{entry.File}\""));
        File.WriteAllText(In($"{stem}.safetensors.index.json"),
            """{"metadata":{"total_size":8},"weight_map":{""" + entries + "}}");
    }
}
