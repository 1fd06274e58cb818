using System.Globalization;
using System.Text;

namespace Rlhf.Models.Decoders;

/// <summary>
/// Writes the text of a <see cref="DecoderScript"/>, for one shape of block: <c>project</c>, <c>attend</c> and <c>finish</c>, which are its forward
/// pass, <c>finish_backward</c>, <c>attend_backward</c> and <c>project_backward</c>, and <c>decode</c>. Attention is <see cref="PackedAttention"/>
/// where that can be.
/// </summary>
/// <remarks>
/// Letters as in <see cref="DecoderScript"/>. The cosines are [N, 1, head size], 1 where nothing is turned, the sines [N, 1, R / 2].
/// <c>pad</c> gives for each of B · K · T padded places its token and head of keys, <c>pack</c> for each of N · K its padded place; queries go
/// along with the head of keys that they share, so that attention sees B · K rows of G heads, and no key is copied.
/// The file has over 300 lines, so that each forward line stands near the backward lines that undo it.
/// </remarks>
internal sealed class DecoderScriptWriter(DecoderShape shape, BlockWeights weights)
{
    private const string Common = """
        def rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
          half = torch.size(sin, 2)
          y = torch.mul(x, cos)
          torch.sub_(torch.narrow(y, 2, 0, half), torch.mul(torch.narrow(x, 2, half, half), sin), alpha=sign)
          torch.add_(torch.narrow(y, 2, half, half), torch.mul(torch.narrow(x, 2, 0, half), sin), alpha=sign)
          return y
        def heads(x: Tensor, rows: int, g: int) -> Tensor:
          return torch.transpose(torch.view(x, [rows, torch.size(x, 0) // rows, g, torch.size(x, 1) // g]), 1, 2)
        def shared(x: Tensor, rows: int, g: int) -> Tensor:
          t = torch.size(x, 0) // rows
          return torch.expand(torch.unsqueeze(torch.view(x, [rows, t, torch.size(x, 1)]), 1), [rows, g, t, torch.size(x, 1)])
        def merge(x: Tensor, pack: Tensor) -> Tensor:
          return torch.index_select(torch.flatten(torch.flatten(torch.transpose(x, 1, 2), 2, 3), 0, 1), 0, pack)

        """;

    private readonly StringBuilder text = new();
    private readonly Dictionary<string, string> gradients = [];
    private readonly List<int> returned = [];
    private readonly int heads = shape.Sizes.Heads, keyHeads = shape.Sizes.KeyValueHeads, size = shape.Sizes.HeadSize,
        width = shape.Sizes.Width, inner = shape.Sizes.InnerWidth;

    private readonly string scale = Number(shape.AttentionScale ?? 1 / Math.Sqrt(shape.Sizes.HeadSize)), epsilon = Number(shape.NormEpsilon);

    /// <summary>Indices of the weights whose gradients <c>finish_backward</c> returns after its other results, and then <c>project_backward</c>.</summary>
    public IReadOnlyList<int> Gradients => returned;

    private bool IsLayerNorm => shape.Norm == NormKind.Layer;

    private bool NormsQueries => shape.QueryKeyNorm != QueryKeyNorm.None;

    private int Group => heads / keyHeads;

    private int QueryWidth => heads * size;

    private int KeyWidth => keyHeads * size;

    private int QkvWidth => QueryWidth + 2 * KeyWidth;

    /// <summary>The text.</summary>
    public string Write()
    {
        text.Append(Common);
        WriteNorms();
        WriteForward();
        WriteBackward();
        WriteDecode();
        return text.ToString();
    }

    private void WriteNorms()
    {
        text.Append($"""
            def rstd(x: Tensor) -> Tensor:
              return torch.rsqrt(torch.add(torch.mean(torch.square(x), [-1], True), {epsilon}))
            def norm(x: Tensor, w: Tensor) -> Tensor:
              return torch.mul_(torch.mul(x, self.rstd(x)), w)
            def norm_backward(dy: Tensor, x: Tensor, r: Tensor, w: Tensor) -> Tensor:
              d = torch.mul(dy, w)
              c = torch.mul(torch.div(torch.sum(torch.mul(d, x), [-1], True), torch.size(x, -1)), torch.pow(r, 3))
              return torch.addcmul_(torch.mul_(d, r), x, c, value=-1)

            """);
    }

    private void WriteForward()
    {
        text.Append("def project(x: Tensor, p: List[Tensor]) -> List[Tensor]:\n");
        Project();
        Line(!NormsQueries ? "return [qkv]"
            : $"return [torch.cat([torch.view(q, [-1, {QueryWidth}]), torch.view(k, [-1, {KeyWidth}]), v], 1), raw]");

        text.Append("def attend(qkv: Tensor, cos: Optional[Tensor], sin: Optional[Tensor], pad: Tensor, pack: Tensor, rows: int, "
            + "mask: Optional[Tensor], keys: Optional[Tensor], values: Optional[Tensor]) -> List[Tensor]:\n");
        Split();
        Turn();
        Line($"qp = torch.index_select(torch.reshape(q, [-1, {Group * size}]), 0, pad)");
        Line($"kp = torch.index_select(torch.reshape(k, [-1, {size}]), 0, pad)");
        Line($"vp = torch.index_select(torch.reshape(v, [-1, {size}]), 0, pad)");
        Line("if keys is not None:");
        Line("  if values is not None:");
        Line($"    t = torch.size(kp, 0) // rows // {keyHeads}");
        foreach (var (from, to) in new[] { ("kp", "keys"), ("vp", "values") })
            Line($"    torch.copy_(torch.unflatten(torch.narrow({to}, 1, 0, t), 2, [{keyHeads}, {size}]), "
                + $"torch.transpose(torch.view({from}, [rows, {keyHeads}, t, {size}]), 1, 2))");
        Line($"br = rows * {keyHeads}");
        Line($"out, lse = torch._scaled_dot_product_flash_attention_for_cpu(self.heads(qp, br, {Group}), self.shared(kp, br, {Group}), "
            + $"self.shared(vp, br, {Group}), 0., mask is None, attn_mask=mask, scale={scale})");
        Line($"o = torch.view(self.merge(out, pack), [-1, {QueryWidth}])");
        Line("return [o, qp, kp, vp, out, lse]");

        text.Append("def finish(x: Tensor, o: Tensor, p: List[Tensor], keep: bool) -> List[Tensor]:\n");
        keptNames = FeedForward();
        Line("if keep:");
        Line($"  kept = [{string.Join(", ", keptNames)}]");
        Line("else:");
        Line("  kept = annotate(List[Tensor], [])");
        Line("return torch.add([y], kept)");
    }

    private List<string> keptNames = [];

    /// <summary>From x to qkv [N, W], and where they are normalized to q [N, H, head size], k and v [N, K · head size]; raw is what was normalized.</summary>
    private void Project()
    {
        Line(shape.Placement == NormPlacement.After ? "h = x" : $"h = {Normed("x", "an")}");
        Line($"qkv = {Product("h", QkvWeight(), QkvBias())}");
        if (shape.Qkv == QkvLayout.ByHead)
            Line($"qkv = torch.flatten(torch.transpose(torch.view(qkv, [-1, {heads}, 3, {size}]), 1, 2), 1)");
        if (!NormsQueries)
            return;
        Split();
        Line($"raw = torch.contiguous(torch.narrow(qkv, 1, 0, {QueryWidth + KeyWidth}))");
        if (shape.QueryKeyNorm == QueryKeyNorm.Whole)
        {
            Line($"q = {Normed("torch.view(q, [-1, " + QueryWidth + "])", "qn")}");
            Line($"k = {Normed("torch.view(k, [-1, " + KeyWidth + "])", "kn")}");
        }
        else
        {
            Line($"q = {Normed("q", "qn")}");
            Line($"k = {Normed("k", "kn")}");
        }
    }

    /// <summary>From qkv to q [N, H, head size], k [N, K, head size] and v [N, K · head size].</summary>
    private void Split()
    {
        Line($"q = torch.reshape(torch.narrow(qkv, 1, 0, {QueryWidth}), [-1, {heads}, {size}])");
        Line($"k = torch.reshape(torch.narrow(qkv, 1, {QueryWidth}, {KeyWidth}), [-1, {keyHeads}, {size}])");
        Line($"v = torch.narrow(qkv, 1, {QueryWidth + KeyWidth}, {KeyWidth})");
    }

    private void Turn()
    {
        Line("if cos is not None:");
        Line("  if sin is not None:");
        Line("    q = self.rotate(q, cos, sin, 1.)");
        Line("    k = self.rotate(k, cos, sin, 1.)");
    }

    /// <summary>From x and o [N, H · head size] to y; returns what the backward pass needs of it.</summary>
    private List<string> FeedForward()
    {
        List<string> kept = [];
        bool after = shape.Placement != NormPlacement.Before, before = shape.Placement != NormPlacement.After;
        string residual = shape.IsParallel ? "x" : "x1";
        if (after)
        {
            Line($"a = {Product("o", Weight("o"), Bias("o"))}");
            Line($"x1 = torch.add({Normed("a", "aon")}, x)");
            kept.Add("a");
        }
        else
            Line($"x1 = self.add_product(x, o, torch.t({Weight("o")}), {Bias("o")})");
        if (!shape.IsParallel)
            kept.Add("x1");
        Line(before ? $"h2 = {Normed(residual, "mn")}" : $"h2 = {residual}");
        if (shape.Sizes.IsGated)
        {
            if (shape.JoinsGateAndUp)
            {
                Line($"gu = {Product("h2", Weight("gu"), Bias("gu"))}");
                Line($"g = torch.narrow(gu, 1, 0, {inner})");
                Line($"u = torch.narrow(gu, 1, {inner}, {inner})");
                kept.Add("gu");
            }
            else
            {
                Line($"g = {Product("h2", Weight("g"), Bias("g"))}");
                Line($"u = {Product("h2", Weight("u"), Bias("u"))}");
                kept.AddRange(["g", "u"]);
            }
            Line($"f = torch.mul_({Activation("g")}, u)");
        }
        else
        {
            Line($"u = {Product("h2", Weight("u"), Bias("u"))}");
            kept.Add("u");
            Line($"f = {Activation("u")}");
        }
        if (after)
        {
            Line($"m = {Product("f", Weight("d"), Bias("d"))}");
            Line($"y = torch.add({Normed("m", "mon")}, x1)");
            kept.Add("m");
        }
        else
            Line($"y = self.add_product(x1, f, torch.t({Weight("d")}), {Bias("d")})");
        return kept;
    }

    private void WriteBackward()
    {
        text.Append("def finish_backward(dy: Tensor, x: Tensor, o: Tensor, kept: List[Tensor], p: List[Tensor]) -> List[Tensor]:\n");
        Line(string.Join(", ", keptNames) + (keptNames.Count == 1 ? ", = kept" : " = kept"));
        if (shape.JoinsGateAndUp)
        {
            Line($"g = torch.narrow(gu, 1, 0, {inner})");
            Line($"u = torch.narrow(gu, 1, {inner}, {inner})");
        }
        bool after = shape.Placement != NormPlacement.Before, before = shape.Placement != NormPlacement.After;
        string residual = shape.IsParallel ? "x" : "x1";

        // The feed-forward layer.
        string dm = after ? NormOutputBackward("dy", "m", "mon") : "dy";
        Line(shape.Sizes.IsGated ? $"s = {Activation("g")}" : $"f = {Activation("u")}");
        if (shape.Sizes.IsGated && NeedsInput("d"))
            Line("f = torch.mul(s, u)");
        LinearGradients("d", dm, "f");
        Line($"df = {Through(dm, Weight("d"))}");
        if (shape.Sizes.IsGated)
        {
            Line($"dg = {ActivationBackward("torch.mul(df, u)", "g")}");
            Line("du = torch.mul_(df, s)");
        }
        else
            Line($"du = {ActivationBackward("df", "u")}");
        if (before)
            NormAgain(residual, "mn", "h2", NeedsInput("g", "u", "gu"));
        else
            Line($"h2 = {residual}");
        if (shape.JoinsGateAndUp)
        {
            Line("dgu = torch.cat([dg, du], 1)");
            LinearGradients("gu", "dgu", "h2");
            Line($"dh2 = {Through("dgu", Weight("gu"))}");
        }
        else
        {
            LinearGradients("u", "du", "h2");
            Line($"dh2 = {Through("du", Weight("u"))}");
            if (shape.Sizes.IsGated)
            {
                LinearGradients("g", "dg", "h2");
                Line($"dh2 = self.add_product(dh2, dg, {Weight("g")}, None)");
            }
        }
        if (before)
            NormBackward(residual, "mn", "dh2", "dmlp");
        else
            Line("dmlp = dh2");
        Line(before ? "dx1 = torch.add_(dmlp, dy)" : "dx1 = torch.add(dmlp, dy)");

        // Attention.
        string into = shape.IsParallel ? "dy" : "dx1";
        string da = after ? NormOutputBackward(into, "a", "aon") : into;
        LinearGradients("o", da, "o");
        Line($"dout = {Through(da, Weight("o"))}");
        Return("dout", "dx1");

        text.Append("def attend_backward(dout: Tensor, attended: List[Tensor], cos: Optional[Tensor], sin: Optional[Tensor], pack: Tensor, rows: int, "
            + "mask: Optional[Tensor]) -> List[Tensor]:\n");
        Line("qp, kp, vp, out, lse = attended");
        Line($"dout = torch.view(dout, [-1, {Group * size}])");
        Line($"br = rows * {keyHeads}");
        Line($"dout = torch.index_copy_(torch.new_zeros(dout, [torch.size(qp, 0), {Group * size}]), 0, pack, dout)");
        Line($"dq, dk, dv = torch._scaled_dot_product_flash_attention_for_cpu_backward(self.heads(dout, br, {Group}), self.heads(qp, br, {Group}), "
            + $"self.shared(kp, br, {Group}), self.shared(vp, br, {Group}), out, lse, 0., mask is None, attn_mask=mask, scale={scale})");
        Line($"dq = torch.view(self.merge(dq, pack), [-1, {heads}, {size}])");
        foreach (string d in new[] { "dk", "dv" })
            Line($"{d} = torch.view(self.merge({(Group == 1 ? d : $"torch.sum({d}, [1], True)")}, pack), [-1, {keyHeads}, {size}])");
        Line("if cos is not None:");
        Line("  if sin is not None:");
        Line("    dq = self.rotate(dq, cos, sin, -1.)");
        Line("    dk = self.rotate(dk, cos, sin, -1.)");
        Line($"return [torch.cat([torch.view(dq, [-1, {QueryWidth}]), torch.view(dk, [-1, {KeyWidth}]), torch.view(dv, [-1, {KeyWidth}])], 1)]");

        text.Append("def merged(attended: List[Tensor], pack: Tensor) -> List[Tensor]:\n");
        Line("qp, kp, vp, out, lse = attended");
        Line($"return [torch.view(self.merge(out, pack), [-1, {QueryWidth}])]");

        text.Append("def project_backward(dqkv: Tensor, dx1: Tensor, x: Tensor, raw: Optional[Tensor], p: List[Tensor]) -> List[Tensor]:\n");
        if (NormsQueries)
        {
            Line("if raw is not None:");
            Line("  raws = raw");
            Line("else:");
            Line("  raws = x");
            bool whole = shape.QueryKeyNorm == QueryKeyNorm.Whole;
            foreach (var (d, at, count, name) in new[] { ("dq", 0, heads, "qn"), ("dk", QueryWidth, keyHeads, "kn") })
            {
                string view = whole ? $"[-1, {count * size}]" : $"[-1, {count}, {size}]";
                Line($"{d}r = torch.reshape(torch.narrow(raws, 1, {at}, {count * size}), {view})");
                Line($"{d} = torch.reshape(torch.narrow(dqkv, 1, {at}, {count * size}), {view})");
                NormAgain($"{d}r", name, "", false);
                NormBackward($"{d}r", name, d, d);
            }
            Line($"dqkv = torch.cat([torch.view(dq, [-1, {QueryWidth}]), torch.view(dk, [-1, {KeyWidth}]), "
                + $"torch.narrow(dqkv, 1, {QueryWidth + KeyWidth}, {KeyWidth})], 1)");
        }
        if (shape.Qkv == QkvLayout.ByHead)
            Line($"dqkv = torch.flatten(torch.transpose(torch.view(dqkv, [-1, 3, {heads}, {size}]), 1, 2), 1)");
        if (before)
            NormAgain("x", "an", "h", NeedsInput("q", "k", "v", "qkv"));
        else
            Line("h = x");
        QkvGradients();
        if (shape.Qkv == QkvLayout.Separate)
        {
            // One after the other, as autograd adds them up; a joint product would need the weights joined once more.
            Line($"dh = {Through($"torch.narrow(dqkv, 1, {QueryWidth + KeyWidth}, {KeyWidth})", Weight("v"))}");
            Line($"dh = self.add_product(dh, torch.narrow(dqkv, 1, {QueryWidth}, {KeyWidth}), {Weight("k")}, None)");
            Line($"dh = self.add_product(dh, torch.narrow(dqkv, 1, 0, {QueryWidth}), {Weight("q")}, None)");
        }
        else
            Line($"dh = {Through("dqkv", QkvWeight())}");
        if (before)
            NormBackward("x", "an", "dh", "dx");
        else
            Line("dx = dh");
        Line("dx = torch.add_(dx, dx1)");
        Return("dx");
    }

    /// <summary>Returns results and the gradients of all weights that the function has written down.</summary>
    private void Return(params string[] results)
    {
        string[] names = [.. weights.Names.Where(n => weights.Trains(n) && gradients.ContainsKey(n))];
        Line($"return [{string.Join(", ", results.Concat(names.Select(n => gradients[n])))}]");
        returned.AddRange(names.Select(weights.IndexOf));
        gradients.Clear();
    }

    private void WriteDecode()
    {
        text.Append("def decode(x: Tensor, p: List[Tensor], cos: Optional[Tensor], sin: Optional[Tensor], keys: Tensor, values: Tensor, "
            + "slots: Tensor, mask: Optional[Tensor], longest: int) -> List[Tensor]:\n");
        Project();
        if (!NormsQueries)
            Split();
        else
        {
            Line($"q = torch.view(q, [-1, {heads}, {size}])");
            Line($"k = torch.view(k, [-1, {keyHeads}, {size}])");
        }
        Turn();
        Line("rows = torch.size(x, 0)");
        foreach (var (from, to) in new[] { ("k", "keys"), ("v", "values") })
        {
            Line($"torch.index_copy_(torch.view({to}, [-1, {KeyWidth}]), 0, slots, torch.type_as(torch.reshape({from}, [rows, {KeyWidth}]), {to}))");
            Line($"{from}c = torch.to(torch.transpose(torch.unflatten(torch.narrow(torch.narrow({to}, 0, 0, rows), 1, 0, longest), 2, [{keyHeads}, {size}]), 1, 2), 6)");
        }
        Line($"out, lse = torch._scaled_dot_product_flash_attention_for_cpu(torch.view(q, [rows, {keyHeads}, {Group}, {size}]), kc, vc, 0., False, "
            + $"attn_mask=mask, scale={scale})");
        Line($"o = torch.reshape(out, [rows, {QueryWidth}])");
        FeedForward();
        Line("return [y]");
    }

    private void Line(string line) => text.Append("  ").Append(line).Append('\n');

    private string P(string name) => $"p[{weights.IndexOf(name)}]";

    /// <summary>The weight [out, in] in float32, with an adapter's update in it.</summary>
    private string Weight(string name)
    {
        string own = weights.IsNarrow(name) ? $"torch.to({P(name)}, 6)" : P(name);
        if (weights.Has(name + ".scale"))
            own = $"torch.mul_({own}, torch.unsqueeze({P(name + ".scale")}, 1))";
        // What was widened is this product's own.
        return weights.AdapterScale(name) is { } s
            ? $"torch.{(weights.IsNarrow(name) ? "addmm_" : "addmm")}({own}, {P(name + ".B")}, {P(name + ".A")}, beta=1, alpha={Number(s)})" : own;
    }

    private string Bias(string name) => !weights.Has(name + ".bias") ? "None"
        : weights.IsNarrow(name + ".bias") ? $"torch.to({P(name + ".bias")}, 6)" : P(name + ".bias");

    private string QkvWeight() => shape.Qkv == QkvLayout.Separate ? $"torch.cat([{Weight("q")}, {Weight("k")}, {Weight("v")}], 0)" : Weight("qkv");

    private string QkvBias() => shape.Qkv != QkvLayout.Separate ? Bias("qkv")
        : weights.Has("q.bias") ? $"torch.cat([{Bias("q")}, {Bias("k")}, {Bias("v")}], 0)" : "None";

    private static string Product(string x, string weight, string bias) => $"self.product({x}, torch.t({weight}), {bias})";

    /// <summary>The gradient of a layer's input from that of its output.</summary>
    private static string Through(string dy, string weight) => $"self.product({dy}, {weight}, None)";

    private string NormWeight(string name)
    {
        string own = weights.IsNarrow(name) ? $"torch.to({P(name)}, 6)" : P(name);
        return shape.Norm == NormKind.RmsPlusOne ? $"torch.add({own}, 1)" : own;
    }

    private string NormBias(string name) => Bias(name);

    private string Normed(string x, string name) => IsLayerNorm
        ? $"torch.layer_norm({x}, [torch.size({x}, -1)], {NormWeight(name)}, {NormBias(name)}, {epsilon})"
        : $"self.norm({x}, {NormWeight(name)})";

    /// <summary>What the backward pass of a normalization needs, and its output where that is asked for.</summary>
    private void NormAgain(string x, string name, string output, bool needsOutput)
    {
        if (IsLayerNorm)
        {
            Line($"{name}_y, {name}_m, {name}_r = torch.native_layer_norm({x}, [torch.size({x}, -1)], {NormWeight(name)}, {NormBias(name)}, {epsilon})");
            if (needsOutput)
                Line($"{output} = {name}_y");
            return;
        }
        Line($"{name}_r = self.rstd({x})");
        Line($"{name}_n = torch.mul({x}, {name}_r)");
        if (needsOutput)
            Line($"{output} = torch.mul({name}_n, {NormWeight(name)})");
    }

    /// <summary>After <see cref="NormAgain"/>: the gradient of its input.</summary>
    private void NormBackward(string x, string name, string dy, string dx)
    {
        if (IsLayerNorm)
        {
            string bias = name + ".bias";
            Line($"{name}_dx, {name}_dw, {name}_db = torch.native_layer_norm_backward({dy}, {x}, [torch.size({x}, -1)], {name}_m, {name}_r, "
                + $"{NormWeight(name)}, {NormBias(name)}, [True, {Text(weights.Trains(name))}, {Text(weights.Trains(bias))}])");
            Line($"{dx} = {name}_dx");
            (gradients[name], gradients[bias]) = ($"{name}_dw", $"{name}_db");
            return;
        }
        if (weights.Trains(name))
        {
            Line($"{name}_dw = torch.sum(torch.reshape(torch.mul({dy}, {name}_n), [-1, torch.size({dy}, -1)]), [0])");
            gradients[name] = $"{name}_dw";
        }
        Line($"{dx} = self.norm_backward({dy}, {x}, {name}_r, {NormWeight(name)})");
    }

    /// <summary>The gradient of what a normalization behind a layer was given; returns its name.</summary>
    private string NormOutputBackward(string dy, string x, string name)
    {
        NormAgain(x, name, "", false);
        NormBackward(x, name, dy, "d" + x);
        return "d" + x;
    }

    private bool NeedsInput(params string[] names) => names.Any(n => weights.Trains(n) || weights.Trains(n + ".A") || weights.Trains(n + ".B"));

    /// <summary>Gradients of a layer's own tensors from that of its output [N, out] and its input [N, in].</summary>
    private void LinearGradients(string name, string dy, string x, string? ofWeight = null)
    {
        if (weights.Trains(name))
            Gradient(name, ofWeight ?? $"self.product(torch.t({dy}), {x}, None)");
        if (weights.Trains(name + ".bias"))
            Gradient(name + ".bias", $"torch.sum({dy}, [0])");
        if (weights.AdapterScale(name) is not { } s)
            return;
        if (weights.Trains(name + ".B"))
            Gradient(name + ".B", $"torch.mul_(self.product(torch.t({dy}), {Product(x, P(name + ".A"), "None")}, None), {Number(s)})");
        if (weights.Trains(name + ".A"))
            Gradient(name + ".A", $"torch.mul_(self.product(torch.t({Through(dy, P(name + ".B"))}), {x}, None), {Number(s)})");
    }

    private void QkvGradients()
    {
        if (shape.Qkv != QkvLayout.Separate)
        {
            LinearGradients("qkv", "dqkv", "h");
            return;
        }
        (string Name, int At, int Width)[] parts = [("q", 0, QueryWidth), ("k", QueryWidth, KeyWidth), ("v", QueryWidth + KeyWidth, KeyWidth)];
        bool together = parts.All(p => weights.Trains(p.Name) && weights.AdapterScale(p.Name) is null);
        if (together)
            Line("dw = self.product(torch.t(dqkv), h, None)");
        foreach (var (name, at, count) in parts)
        {
            Line($"d_{name}_y = torch.narrow(dqkv, 1, {at}, {count})");
            LinearGradients(name, $"d_{name}_y", "h", together ? $"torch.narrow(dw, 0, {at}, {count})" : null);
        }
    }

    private void Gradient(string name, string expression)
    {
        string variable = "d_" + name.Replace('.', '_');
        Line($"{variable} = {expression}");
        gradients[name] = variable;
    }

    private string Activation(string x) => shape.Activation switch
    {
        "silu" or "swish" => $"torch.silu({x})",
        "gelu" => $"self.gelu({x}, False)",
        _ => $"self.gelu({x}, True)",
    };

    private string ActivationBackward(string dy, string x) => shape.Activation switch
    {
        "silu" or "swish" => $"torch.silu_backward({dy}, {x})",
        "gelu" => $"torch.gelu_backward({dy}, {x})",
        _ => $"torch.gelu_backward({dy}, {x}, approximate=\"tanh\")",
    };

    private static string Text(bool value) => value ? "True" : "False";

    private static string Number(double value)
    {
        string number = value.ToString("R", CultureInfo.InvariantCulture);
        return number.Contains('.', StringComparison.Ordinal) || number.Contains('E', StringComparison.Ordinal) ? number : number + ".";
    }
}
