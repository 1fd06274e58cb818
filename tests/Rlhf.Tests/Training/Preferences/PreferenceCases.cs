using System.Text.Json;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Preferences;

/// <summary>What the reference cases of dpo, kto, grpo and rloo have in common (tests/fixtures/README-modern.md).</summary>
internal static class PreferenceCases
{
    /// <summary>The cases of a folder of the fixtures, whatever lies there; the name of one that ought to when none does.</summary>
    public static TheoryData<string> Of(string folder, string usual)
    {
        string root = Path.Combine(Fixtures.Root, folder);
        string[] found = Directory.Exists(root)
            ? [.. Directory.GetDirectories(root).Where(d => File.Exists(Path.Combine(d, "case.json"))).Select(d => Path.GetFileName(d)!).Order()] : [];
        return [.. found.Length > 0 ? found : [usual]];
    }

    public static (JsonElement Case, FixtureTensors Tensors) Load(string folder, string name) =>
        (JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path(folder, name, "case.json"))).RootElement,
            FixtureTensors.Load(Fixtures.Path(folder, name, "tensors.safetensors")));

    /// <summary>The policy and the reference that a case names.</summary>
    public static (CausalLM Policy, CausalLM Reference) ModelsOf(JsonElement test)
    {
        string Folder(string role) => Fixtures.Path("preference-models", test.GetProperty("model").GetString()!, test.GetProperty(role).GetString()!);
        var reference = AutoModelForCausalLM.FromPretrained(Folder("reference"));
        reference.Freeze();
        return (AutoModelForCausalLM.FromPretrained(Folder("policy")), reference);
    }

    public static int[] Ids(JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().Select(e => e.GetInt32())];

    public static double Number(JsonElement settings, string name, double otherwise) =>
        settings.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : otherwise;

    /// <summary>What a number may be off by: 1e-5, more after updates, or four times the noise that the case's program measured.</summary>
    public static double Tolerance(JsonElement test, string name, int updates) => Math.Max(1e-5 * (1 + 4 * updates), 4 * Noise(test, name));

    /// <summary>
    /// The same for weights. Where a gradient is as small as Adam's ε, its rounding noise decides on a part of the update: a tenth of the
    /// learning rate is allowed, a twentieth of what a wrong sign gives.
    /// </summary>
    public static double WeightTolerance(JsonElement test, string prefix, int updates) =>
        Math.Max(0.1 * test.GetProperty("learning_rate").GetDouble() * (1 + updates), 4 * Noise(test, prefix + "weights"));

    private static double Noise(JsonElement test, string name) =>
        test.TryGetProperty("rounding_noise", out var noise) && noise.TryGetProperty(name, out var value) ? value.GetDouble() : 0;

    /// <summary>Compares numbers, each to the tolerance or to that share of its size.</summary>
    public static void Close(string what, IReadOnlyList<float> expected, IReadOnlyList<float> actual, double tolerance)
    {
        Assert.Equal(expected.Count, actual.Count);
        for (int i = 0; i < expected.Count; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= tolerance * Math.Max(1, Math.Abs(expected[i])),
                $"{what}[{i}]: {expected[i]} expected, {actual[i]} found.");
    }

    public static void Close(string what, double expected, double actual, double tolerance) =>
        Close(what, [(float)expected], [(float)actual], tolerance);

    /// <summary>
    /// Compares all tensors with a prefix with those of a model; of GPT-2's fused projections the keys' bias is left out, whose gradient is
    /// rounding noise.
    /// </summary>
    public static void CompareAll(FixtureTensors tensors, string prefix, Func<string, Tensor?> of, double tolerance)
    {
        int compared = 0;
        foreach (var name in tensors.Names.Where(n => n.StartsWith(prefix, StringComparison.Ordinal)))
        {
            var parameter = name[prefix.Length..];
            if (of(parameter) is not { } actual)
                throw new InvalidOperationException($"There is no {parameter}.");
            float[] expected = tensors.Floats(name), found = actual.detach().contiguous().data<float>().ToArray();
            if (parameter.EndsWith("c_attn.bias", StringComparison.Ordinal))
            {
                int third = expected.Length / 3;
                (expected, found) = ([.. expected[..third], .. expected[(2 * third)..]], [.. found[..third], .. found[(2 * third)..]]);
            }
            Close(name, expected, found, tolerance);
            compared++;
        }
        Assert.True(compared > 0, $"There is no {prefix}.");
    }

    public static Reference ReferenceOf(CausalLM model) => Reference.To(model);

    public static float[] Floats(Tensor values) => values.detach().cpu().data<float>().ToArray();
}
