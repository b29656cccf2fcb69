import onnx

from nd_deploy.nd import dialect


def test_no_op_of_the_dialect_has_the_name_of_a_standard_one():
    # TensorRT's parser finds built-in ops by name whatever their domain, bodies notwithstanding.
    schemas = onnx.defs.get_all_schemas_with_history()
    standard = {schema.name for schema in schemas if schema.domain != dialect.DOMAIN}
    assert "Softmax" in standard
    assert not standard & set(dialect.OPS)
