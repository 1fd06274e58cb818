using System.Text.Json;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Tests.Weights;

/// <summary>Every small good or malformed file behaves as the reference library says in expected.json.</summary>
public class SafeTensorsReferenceTests
{
    public static TheoryData<string> Files()
    {
        var path = Path.Combine(Fixtures.Root, "safetensors-bad", "expected.json");
        if (!File.Exists(path))
            return ["expected.json"];
        using var json = JsonDocument.Parse(File.ReadAllText(path));
        return [.. json.RootElement.GetProperty("files").EnumerateArray().Select(file => file.GetProperty("file").GetString()!)];
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void BehavesAsTheReferenceReader(string file)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(Fixtures.Path("safetensors-bad", "expected.json")));
        var expected = json.RootElement.GetProperty("files").EnumerateArray()
            .Single(entry => entry.GetProperty("file").GetString() == file);
        var path = Fixtures.Path("safetensors-bad", file);

        if (!expected.GetProperty("loads").GetBoolean())
        {
            var refusal = Assert.Throws<InvalidDataException>(() => SafeTensors.Load(path));
            Assert.StartsWith(path + ": ", refusal.Message);
            foreach (var tensor in new[] { "a", "b" })
                if (expected.GetProperty("error").GetString()!.Contains($"tensor `{tensor}`"))
                    Assert.Contains($"'{tensor}'", refusal.Message);
            return;
        }

        using var scope = NewDisposeScope();
        var tensors = SafeTensors.Load(path);
        Assert.Equal(expected.GetProperty("tensors").EnumerateObject().Select(t => t.Name).Order(), tensors.Keys.Order());
        foreach (var tensor in expected.GetProperty("tensors").EnumerateObject())
        {
            var actual = tensors[tensor.Name];
            Assert.Equal(tensor.Value.GetProperty("dtype").GetString(), "torch." + actual.dtype.ToString().ToLowerInvariant());
            Assert.Equal(tensor.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64()), actual.shape);
            Assert.Equal(tensor.Value.GetProperty("values").EnumerateArray().Select(v => v.GetSingle()),
                actual.numel() == 0 ? [] : actual.to(float32).data<float>().ToArray());
        }
    }

    [Fact]
    public void MetadataIsReadable()
    {
        using var file = SafeTensorsFile.Open(Fixtures.Path("safetensors-bad", "ok-metadata.safetensors"));
        Assert.NotEmpty(file.Metadata);
    }
}
