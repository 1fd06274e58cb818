using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models.Encoders;

/// <summary>Logits and hidden states equal those of transformers in every padding layout.</summary>
public class ClassifierParityTests
{
    private const float Tolerance = 1e-4f;

    public static TheoryData<string> Folders => [.. ClassifierFixtures.Folders()];

    public static TheoryData<string, string> Groups => [.. ClassifierFixtures.Groups()];

    public static TheoryData<string, string> GroupsPaddedOnTheRight =>
        [.. ClassifierFixtures.Groups().Where(g => ClassifierFixtures.PadsOnTheRight(g.Folder, g.Group))];

    [Theory, MemberData(nameof(Groups))]
    public void Logits_and_hidden_states_of_rows_with_their_padding(string folder, string group)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = ClassifierFixtures.Expected(folder);
        using var model = ClassifierFixtures.Load(folder);
        using var batch = Batch(expected, group, keepPadding: true);

        Close(expected.Floats(group + ".logits"), model.Forward(batch));
        if (expected.Has(group + ".hidden_states"))
        {
            var states = stack(model.HiddenStates(batch).Select(batch.Pad));
            Assert.Equal(expected.Shape(group + ".hidden_states"), states.shape);
            Close(expected.Floats(group + ".hidden_states"), states);
        }
    }

    [Theory, MemberData(nameof(GroupsPaddedOnTheRight))]
    public void Rows_padded_on_the_right_need_no_padding(string folder, string group)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = ClassifierFixtures.Expected(folder);
        using var model = ClassifierFixtures.Load(folder);
        using var batch = Batch(expected, group, keepPadding: false);

        Close(expected.Floats(group + ".logits"), model.Forward(batch));
        if (!expected.Has(group + ".hidden_states"))
            return;
        var states = model.HiddenStates(batch);
        var shape = expected.Shape(group + ".hidden_states");
        var numbers = expected.Floats(group + ".hidden_states");
        for (int layer = 0; layer < states.Count; layer++)
        {
            var packed = states[layer].data<float>().ToArray();
            for (int b = 0; b < batch.RowCount; b++)
                for (int t = 0; t < batch.Length(b); t++)
                    for (int d = 0; d < (int)shape[3]; d++)
                        Assert.Equal(numbers[((layer * shape[1] + b) * shape[2] + t) * shape[3] + d],
                            packed[(batch.Offsets[b] + t) * shape[3] + d], Tolerance);
        }
    }

    [Theory, MemberData(nameof(Folders))]
    public void Each_row_alone(string folder)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = ClassifierFixtures.Expected(folder);
        using var model = ClassifierFixtures.Load(folder);
        var rows = Attended(expected, "right");
        var logits = rows.Select(row =>
        {
            using var batch = PackedBatch.FromRows([row]);
            return model.Forward(batch);
        }).ToArray();

        Close(expected.Floats("alone.logits"), cat(logits));
    }

    [Theory, MemberData(nameof(Folders))]
    public void Parameters_have_exactly_the_names_and_shapes_of_the_checkpoint(string folder)
    {
        var weights = ClassifierFixtures.Weights(folder);
        using var model = ClassifierFixtures.Load(folder);

        Assert.Equal(weights.Names.Order(), model.Parameters.Select(p => p.Key).Order());
        foreach (var (name, parameter) in model.Parameters)
            Assert.Equal(weights.Shape(name), parameter.shape);
    }

    internal static int[][] Attended(FixtureTensors expected, string group)
    {
        var mask = expected.Rows(group + ".attention_mask");
        return [.. expected.Rows(group + ".input_ids").Select((row, b) => row.Where((_, t) => mask[b][t] != 0).ToArray())];
    }

    private static PackedBatch Batch(FixtureTensors expected, string group, bool keepPadding) => PackedBatch.FromPadded(
        expected.Rows(group + ".input_ids"), expected.Rows(group + ".attention_mask"), keepPadding: keepPadding,
        tokenTypeIds: expected.Has(group + ".token_type_ids") ? expected.Rows(group + ".token_type_ids") : null);

    private static void Close(float[] expected, Tensor actual)
    {
        var values = actual.contiguous().data<float>().ToArray();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], values[i], Tolerance);
    }
}
