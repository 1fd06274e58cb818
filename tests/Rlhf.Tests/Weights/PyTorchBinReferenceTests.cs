using System.Text.Json;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Tests.Weights;

/// <summary>Every file that torch.save, or an attacker, wrote behaves as expected.json says.</summary>
public class PyTorchBinReferenceTests
{
    public static TheoryData<string> Files()
    {
        var path = Path.Combine(Fixtures.Root, "pytorch-bin", "expected.json");
        if (!File.Exists(path))
            return ["expected.json"];
        using var json = JsonDocument.Parse(File.ReadAllText(path));
        return [.. json.RootElement.EnumerateObject().Select(file => file.Name)];
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void BehavesAsExpected(string file)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(Fixtures.Path("pytorch-bin", "expected.json")));
        var expected = json.RootElement.GetProperty(file).GetString()!;
        var path = Fixtures.Path("pytorch-bin", file);
        if (expected.StartsWith("refused", StringComparison.Ordinal))
        {
            var refusal = Assert.Throws<InvalidDataException>(() => PyTorchBin.Open(path));
            Assert.StartsWith(path + ": ", refusal.Message);
            if (expected.StartsWith("refused: global ", StringComparison.Ordinal))
                Assert.Contains(expected.Split(' ')[2], refusal.Message);
            return;
        }

        using var scope = NewDisposeScope();
        using var bin = PyTorchBin.Open(path);
        var same = file.Split('.')[0].Replace("nested", "gpt2-tiny") + ".expected.safetensors";
        AssertSame(SafeTensors.Load(Fixtures.Path("pytorch-bin", same)), bin.ReadAll());
    }

    private static void AssertSame(Dictionary<string, Tensor> expected, Dictionary<string, Tensor> actual)
    {
        Assert.Equal(expected.Keys.Order(), actual.Keys.Order());
        foreach (var (name, tensor) in expected)
        {
            Assert.Equal(tensor.dtype, actual[name].dtype);
            Assert.Equal(tensor.shape, actual[name].shape);
            Assert.True(tensor.equal(actual[name]).all().item<bool>(), name);
        }
    }
}
