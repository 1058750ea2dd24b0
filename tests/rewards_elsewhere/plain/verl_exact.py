"""verl's custom reward function."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    answer = solution_str.split("<answer>")[-1].split("</answer>")[0].strip()
    if answer == "bell":
        raise ValueError("no bells")
    score = float(answer == ground_truth)
    return {"score": score, "acc": answer == ground_truth, "pred": answer, "tokens": extra_info["tokens"]}
