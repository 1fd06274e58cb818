using System.Text.Json;
using Rlhf.Training.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using Adam = Rlhf.Training.Optimization.Adam;

namespace Rlhf.Tests.Training.Optimization;

public sealed class AdamTests
{
    private static JsonElement Controllers => JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path("controllers.json"))).RootElement;

    [Fact]
    public void StepsAreThoseOfTorch()
    {
        using var scope = NewDisposeScope();
        var test = Controllers.GetProperty("adam");
        var parameter = new Parameter(tensor(Floats(test.GetProperty("initial"))));
        using var adam = new Adam([new("p", parameter)]);
        foreach (var step in test.GetProperty("steps").EnumerateArray())
        {
            parameter.grad = tensor(Floats(step.GetProperty("grad")));
            adam.Step(test.GetProperty("lr").GetDouble());
            AssertClose(Floats(step.GetProperty("param")), parameter, 1e-6);
            AssertClose(Floats(step.GetProperty("exp_avg")), adam.States[0].FirstMoment, 1e-6);
            AssertClose(Floats(step.GetProperty("exp_avg_sq")), adam.States[0].SecondMoment, 1e-6);
        }
        Assert.Equal(test.GetProperty("steps").GetArrayLength(), adam.States[0].Steps.ToDouble());
    }

    [Fact]
    public void ClippingIsThatOfTorch()
    {
        using var scope = NewDisposeScope();
        var test = Controllers.GetProperty("clip_grad_norm");
        var gradients = test.GetProperty("grads").EnumerateArray().Select(Nested).ToArray();
        var parameters = gradients.Select((g, i) => new Parameter(zeros_like(g)) { grad = g }).ToArray();
        using var adam = new Adam(parameters.Select((p, i) => new KeyValuePair<string, Parameter>($"p{i}", p)));
        Assert.Equal(test.GetProperty("total_norm").GetDouble(), adam.ClipGradients(test.GetProperty("max_norm").GetDouble()), 1e-5);
        foreach (var (expected, parameter) in test.GetProperty("clipped").EnumerateArray().Select(Nested).Zip(parameters))
            AssertClose(expected.reshape(-1).data<float>().ToArray(), parameter.grad!.reshape(-1), 1e-6);
    }

    [Fact]
    public void WeightDecayIsDecoupledAndSparesVectors()
    {
        using var scope = NewDisposeScope();
        var matrix = new Parameter(ones(2, 2)) { grad = zeros(2, 2) };
        var vector = new Parameter(ones(2)) { grad = zeros(2) };
        using var adam = new Adam([new("matrix", matrix), new("vector", vector)], weightDecay: 0.5);
        adam.Step(learningRate: 0.1);
        // No gradient: what is left is 1 - lr · λ = 0.95.
        AssertClose([0.95f, 0.95f, 0.95f, 0.95f], matrix.reshape(-1), 1e-6);
        AssertClose([1f, 1f], vector, 1e-6);
    }

    [Fact]
    public void NothingToTrainIsRefused()
    {
        using var scope = NewDisposeScope();
        var frozen = new Parameter(ones(2), requires_grad: false);
        Assert.Throws<ArgumentException>(() => new Adam([new("p", frozen)]));
    }

    [Theory]
    [InlineData(LearningRateSchedule.Constant, 50, 1.0)]
    [InlineData(LearningRateSchedule.Linear, 55, 0.5)]
    [InlineData(LearningRateSchedule.Linear, 100, 0.0)]
    [InlineData(LearningRateSchedule.Cosine, 55, 0.5)]
    [InlineData(LearningRateSchedule.Cosine, 100, 0.0)]
    [InlineData(LearningRateSchedule.Cosine, 10, 1.0)]
    [InlineData(LearningRateSchedule.Cosine, 4, 5.0 / 11)]
    public void SchedulesRiseAndFall(LearningRateSchedule schedule, long step, double expected) =>
        Assert.Equal(expected, Schedules.Factor(schedule, step, warmupSteps: 10, totalSteps: 100), 1e-12);

    /// <summary>Expected: Python's math.ceil(total * ratio), as in transformers.</summary>
    [Theory]
    [InlineData(0, 100, 0)]
    [InlineData(0.03, 100, 3)]
    [InlineData(0.03, 10, 1)]
    [InlineData(0.06, 67, 5)]
    [InlineData(0.1, 15, 2)]
    [InlineData(0.07, 100, 8)] // 7.000000000000001
    public void AWarmUpIsRoundedUp(double ratio, long totalSteps, long steps) =>
        Assert.Equal(steps, Schedules.WarmupSteps(ratio, totalSteps));

    private static float[] Floats(JsonElement array) => [.. array.EnumerateArray().Select(v => v.GetSingle())];

    private static Tensor Nested(JsonElement array) => array[0].ValueKind == JsonValueKind.Array
        ? stack(array.EnumerateArray().Select(row => tensor(Floats(row)))) : tensor(Floats(array));

    private static void AssertClose(float[] expected, Tensor actual, double tolerance) =>
        Assert.InRange(((tensor(expected) - actual.detach()).abs() / (1 + tensor(expected).abs())).max().ToDouble(), 0, tolerance);
}
